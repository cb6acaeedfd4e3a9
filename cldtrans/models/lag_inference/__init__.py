"""Lags of a window, amortised.

In the order in which the modules stand:

covariances, innovations, growing, fitting, significance: closed forms;
evidence: what they say of every pair; one_source: what a single source explains;
reading: candidates of lags; pair_network, network: what is learned.
"""
