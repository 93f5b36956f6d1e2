"""Data sets: read from where they lie, split once for all runs, given out as uint8 tensors."""
