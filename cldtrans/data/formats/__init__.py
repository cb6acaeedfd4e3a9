"""Bytes of recordings: EDF, WFDB."""
