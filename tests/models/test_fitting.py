"""Lagged covariances and least squares at fractional lags, against plain sums over samples."""

import numpy as np
import pytest
import scipy.signal
import torch
import torch.nn.functional as F

from cldtrans.models.lag_inference.covariances import ROWS_AT_ONCE, SINC_TAPS, lagged_covariance, standardise
from cldtrans.models.lag_inference.fitting import Sums, corrected, fit
from cldtrans.models.lag_inference.growing import OWN_LAGS, Grown


@pytest.mark.parametrize("n_channels", [3, 2 * ROWS_AT_ONCE + 3])
def test_lagged_covariance_is_the_plain_sum(n_channels):
    x, y = torch.randn(2, 2, n_channels, 101, dtype=torch.float64).unbind()
    table = lagged_covariance(x, y, 7)
    for m in range(8):
        expected = torch.einsum("bit,bjt->bij", x[..., m:], y[..., : 101 - m]) / 101
        torch.testing.assert_close(table[..., m], expected)


def test_least_squares_sums_the_samples_whose_past_is_there():
    """Sums of sinusoids, whose delays are known everywhere, against a plain sum over those samples."""
    rng = np.random.default_rng(4)
    n, max_lag = 500, 20
    hertz, phase = rng.uniform(0.01, 0.1, (3, 12)), rng.uniform(0, 6, (3, 12))

    def delayed(channel, lag):
        t = np.arange(n)[:, None] - lag
        return np.cos(2 * np.pi * hertz[channel] * t + phase[channel]).sum(1) / np.sqrt(6)

    x = torch.from_numpy(np.stack([delayed(c, 0.0) for c in range(3)]))[None]
    sums = Sums.of(x, max_lag)
    tau = np.array([[3.37, 17.81], [0.06, 19.9], [8.5, 0.0]])
    source = torch.tensor([[[1, 2], [0, 2], [0, 1]]])
    nothing = torch.zeros(1)
    grown = Grown(
        torch.arange(3), source, torch.zeros(1, 3, 2), torch.ones(1, 3, 2, dtype=torch.bool), *[nothing] * 6
    )
    counted = slice(sums.first, sums.last)
    extra = np.zeros((3, n))
    extra[:, counted] = rng.standard_normal((3, sums.last - sums.first))  # of a pseudo-response
    ahead = F.pad(x, (0, SINC_TAPS))[..., SINC_TAPS:]
    table = lagged_covariance(torch.from_numpy(extra)[None], ahead, max_lag + 2 * SINC_TAPS)
    found = fit(sums, grown, torch.from_numpy(tau)[None])
    answered = fit(corrected(sums, grown, table), grown, torch.from_numpy(tau)[None])
    for i in range(3):
        own = [delayed(i, p) for p in range(1, OWN_LAGS + 1)]
        others = [delayed(int(j), lag) for j, lag in zip(source[0, i], tau[i], strict=True)]
        rows = np.stack(own + others)[:, counted]
        gram = torch.linalg.inv(found.inverse[0, i]).numpy()
        np.testing.assert_allclose(gram, rows @ rows.T / n, atol=1e-4)
        right = gram @ found.coefficient[0, i].numpy()
        np.testing.assert_allclose(right, rows @ delayed(i, 0.0)[counted] / n, atol=1e-4)
        change = gram @ (answered.coefficient - found.coefficient)[0, i].numpy()
        np.testing.assert_allclose(change, rows @ extra[i][counted] / n, atol=1e-4)


def test_slow_narrow_rhythms_are_fitted_without_bias():
    """A resonance at 3 Hz with poles of radius 0.98, where a little white noise eats the coefficients."""
    rng = np.random.default_rng(0)
    drive = rng.standard_normal((1, 2, 4000))
    poles = 0.98 * np.exp(2j * np.pi * 3 / 160 * np.array([1, -1]))
    x = scipy.signal.lfilter([1.0], np.real(np.poly(poles)), drive)[..., -1600:]
    x, _ = standardise(torch.from_numpy(x), torch.ones(1, 2, dtype=torch.bool))
    sums = Sums.of(x, 20)
    nothing = torch.zeros(1)
    unused = torch.zeros(1, 2, 1, dtype=torch.bool)
    grown = Grown(torch.arange(2), torch.tensor([[[1], [0]]]), torch.zeros(1, 2, 1), unused, *[nothing] * 6)
    own = fit(sums, grown, torch.zeros(1, 2, 1, dtype=torch.float64)).coefficient[0, :, :OWN_LAGS]
    t = np.arange(sums.first, sums.last)
    for channel in range(2):
        y = x[0, channel].numpy()
        past = np.stack([y[t - p] for p in range(1, OWN_LAGS + 1)], 1)
        expected = np.linalg.lstsq(past, y[t], rcond=None)[0]
        np.testing.assert_allclose(own[channel].numpy(), expected, atol=2e-3)
