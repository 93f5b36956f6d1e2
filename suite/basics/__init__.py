"""What every package may use: declared settings and command lines, addresses, files, randomness.

Nothing here knows what a run is.
"""
