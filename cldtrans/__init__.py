"""Causal-Lagged Dynamic Transformer for biosignals."""

__version__ = "0.1.0"
