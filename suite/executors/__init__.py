"""Where the fleets of a sweep are placed: processes of this machine."""
