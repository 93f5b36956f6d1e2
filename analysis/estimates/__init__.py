"""Frames in, estimates with uncertainty out; nothing here reads a store or draws."""
