"""What a fit leaves over, against sums in the time domain."""

import numpy as np
import torch

from cldtrans.models.lag_inference.fitting import Fit
from cldtrans.models.lag_inference.growing import OWN_LAGS
from cldtrans.models.lag_inference.significance import residuals


def test_residuals_are_the_signal_less_its_own_past_and_delayed_sources():
    rng = np.random.default_rng(0)
    n_channels, n_samples, max_lag = 3, 400, 20
    x = rng.standard_normal((1, n_channels, n_samples))
    source, lag = np.array([[1, 2], [0, 2], [0, 1]]), np.array([[3, 17], [20, 1], [5, 9]])
    weight, own = rng.standard_normal((3, 2)), 0.3 * rng.standard_normal((3, OWN_LAGS))
    expected = x[0].copy()
    for i in range(n_channels):
        past = [(i, k + 1, own[i, k]) for k in range(OWN_LAGS)]
        for j, later, size in [*past, *zip(source[i], lag[i], weight[i], strict=True)]:
            expected[i, later:] -= size * x[0, j, : n_samples - later]
    mine = np.repeat(np.arange(3)[:, None], OWN_LAGS, 1)
    parts = {
        "channel": np.concatenate([mine, source], 1),
        "lag": np.concatenate([np.tile(np.arange(1, OWN_LAGS + 1), (3, 1)), lag], 1).astype(float),
        "live": np.ones((3, OWN_LAGS + 2)),
        "coefficient": np.concatenate([own, weight], 1),
    }
    model = Fit(**{name: torch.from_numpy(v)[None] for name, v in parts.items()}, inverse=torch.empty(0))
    found = residuals(torch.from_numpy(x), model, max_lag)
    np.testing.assert_allclose(found[0], expected, atol=1e-9)
