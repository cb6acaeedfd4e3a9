"""VARLiNGAM (Hyvärinen et al. 2010, JMLR 11:1709) by the lingam package, in its own process.

    python varlingam.py windows.npz estimate.npz

Reads x [N, C, T] (consecutive windows of one record) and order (samples); writes support and lag_samples
[C, C], rows targets. Coefficients are pruned by the adaptive lasso, as the package offers; an edge is a pair
with any coefficient left, its lag that of the largest one: whole samples, 0 for an instantaneous effect.
"""

import sys

import numpy as np
from lingam import VARLiNGAM

windows = np.load(sys.argv[1])
x = windows["x"].swapaxes(0, 1).reshape(windows["x"].shape[1], -1)
x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
model = VARLiNGAM(lags=int(windows["order"]), criterion=None, prune=True).fit(x.T)
size = np.abs(model.adjacency_matrices_)  # [lag, target, source], lag 0 first
size[:, np.arange(len(x)), np.arange(len(x))] = 0.0
np.savez(sys.argv[2], support=size.max(0) > 0, lag_samples=size.argmax(0).astype(float))
