"""Metrics, intervals, regions: pure functions of numbers."""
