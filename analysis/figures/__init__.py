"""Estimate frames in, matplotlib figures out; nothing here estimates or reads a store."""
