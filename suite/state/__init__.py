"""What keeps a run from being lost or trained twice: its checkpoint, its result, its lease.

In a folder, on PostgreSQL or in an object store; nothing here knows how a number was computed.
"""
