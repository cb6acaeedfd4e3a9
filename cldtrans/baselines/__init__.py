"""Baselines: one file a method, named in the config as ``module:factory``."""
