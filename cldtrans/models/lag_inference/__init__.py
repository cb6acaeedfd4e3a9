"""Lags of a window, amortised.

In the order in which the modules stand:

covariances, innovations, growing, fitting, significance, timelines: closed forms;
evidence: what they say of every pair; reading: candidates of lags; pair_network, network: what is learned.
"""
