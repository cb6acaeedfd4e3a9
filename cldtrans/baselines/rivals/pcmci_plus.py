"""PCMCI+ (Runge 2020, UAI) with partial correlations by the tigramite package, in its own process.

    python pcmci_plus.py windows.npz estimate.npz

Reads x [N, C, T] (consecutive windows of one record), order (samples) and alpha; writes support and
lag_samples [C, C], rows targets. An edge is a pair with a link at any lag whose p-value, corrected over all
pairs and lags (Bonferroni), is below alpha; its lag is that of the strongest link: whole samples.
tigramite is GPL-3: nothing of cldtrans imports it.
"""

import sys

import numpy as np
from tigramite.data_processing import DataFrame
from tigramite.independence_tests.parcorr import ParCorr
from tigramite.pcmci import PCMCI

windows = np.load(sys.argv[1])
x, order, alpha = windows["x"], int(windows["order"]), float(windows["alpha"])
x = x.swapaxes(0, 1).reshape(x.shape[1], -1)
n_pairs = len(x) * (len(x) - 1)
level = alpha / (n_pairs * (order + 1))
pcmci = PCMCI(DataFrame(x.T), cond_ind_test=ParCorr(significance="analytic"), verbosity=0)
result = pcmci.run_pcmciplus(tau_min=0, tau_max=order, pc_alpha=level)
# graph[source, target, lag]: "-->" from source to target, "o-o" and "x-x" undecided at lag 0.
linked = np.isin(result["graph"], ["-->", "o-o", "x-x", "o->"]) & (result["p_matrix"] <= level)
strength = np.where(linked, np.abs(result["val_matrix"]), 0.0).transpose(1, 0, 2)
strength[np.arange(len(x)), np.arange(len(x))] = 0.0
np.savez(sys.argv[2], support=strength.max(-1) > 0, lag_samples=strength.argmax(-1).astype(float))
