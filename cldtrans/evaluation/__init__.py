"""Scoring: metrics, intervals over subjects, focal lead, identifiability, robustness, summaries."""
