"""Data sets: read, split in the same way for all runs, and kept as uint8 tensors; augmentation."""
