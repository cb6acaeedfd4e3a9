"""Delays between any two channels, with no claim of who causes whom."""
