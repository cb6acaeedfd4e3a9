"""Closed-form evidence for lags: what refitting with significant sources changes, and standard errors."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from toys import model as toy_model

from cldtrans.models.lag_inference.covariances import standardise
from cldtrans.models.lag_inference.evidence import SIGNIFICANT, Covariances, LagEvidence, pairs
from cldtrans.models.lag_inference.innovations import LearnedScoreFunction, least_squares

MAX_LAG, SOURCES = 48, 8


def worlds(n, n_channels):
    """Windows of n systems at 160 Hz, the mask of valid channels, their supports, lags in samples."""
    x, support, tau = toy_model.worlds(n, n_channels)
    return x, torch.ones(x.shape[:2], dtype=torch.bool), support, np.nan_to_num(tau) * 160


def like_tanh():
    """psi(e) = tanh(2 e / sigma): for Laplace innovations, as these worlds have."""
    score = LearnedScoreFunction()
    score.out.bias.data.copy_(torch.tensor([-1.0, 0.0, 1.0, 0.0]))
    return score


def evidence(x, mask, score=least_squares):
    return Covariances.of(*standardise(x, mask), MAX_LAG).evidence(SOURCES, score)


@pytest.mark.parametrize("n_channels", [6, 12])
def test_evidence_finds_edges_and_lags_of_simulated_systems(n_channels):
    x, mask, support, lag = worlds(8, n_channels)
    first, _ = evidence(x, mask)
    off = np.broadcast_to(~np.eye(n_channels, dtype=bool), support.shape)
    assert roc_auc_score(support[off], first.score.numpy()[off]) > 0.92
    assert np.median(np.abs(first.tau.numpy() - lag)[support]) < 0.5


def test_a_refit_takes_significant_sources_alone_and_tests_all_others():
    x, mask, _, _ = worlds(4, 8)
    first, refitted = evidence(x, mask)
    assert (first.selected & ~(first.score > SIGNIFICANT)).any(), "nothing to leave out: the test is void"
    assert not (refitted.selected & ~(first.score > SIGNIFICANT)).any()
    assert (refitted.score[pairs(mask)] > 0).all()


def test_a_refit_depends_neither_on_other_windows_nor_on_the_order_of_channels():
    x, mask, _, _ = worlds(4, 8)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    score = like_tanh()
    torch.nn.init.normal_(score.out.weight, std=0.01)
    together = evidence(x, mask, score)[1]
    alone = LagEvidence.joined([evidence(x[k : k + 1], mask[k : k + 1], score)[1] for k in range(4)])
    permuted = evidence(x[:, order], mask[:, order], score)[1]
    assert (together.efficiency > 1).any(), "least squares everywhere: half of the test is void"
    for field in fields(LagEvidence):  # to the bit: what one rank says, or one window in a service
        assert torch.equal(getattr(alone, field.name), getattr(together, field.name)), field.name
    for name in ("score", "tau", "tau_error", "weight"):
        value = getattr(together, name)[:, order][:, :, order]
        torch.testing.assert_close(getattr(permuted, name), value, rtol=1e-6, atol=1e-6)


def test_refitting_brings_lags_and_edges_nearer_to_the_truth():
    x, mask, support, lag = worlds(24, 12)
    off = np.broadcast_to(~np.eye(12, dtype=bool), support.shape)
    auroc, error = [], []
    for found in (*evidence(x, mask, like_tanh()), evidence(x, mask)[1]):
        auroc.append(roc_auc_score(support[off], found.score.numpy()[off]))
        error.append(np.abs(found.tau.numpy() - lag)[support].mean())
    first, refitted, by_squares = auroc
    assert refitted > first + 0.003 and refitted > by_squares + 0.003, auroc
    first, refitted, by_squares = error
    assert refitted < 0.6 * first and refitted < 0.6 * by_squares, error


def test_standard_errors_are_the_spread_of_lags():
    """Of 300 windows in which one channel follows another 5.3 samples later."""
    rng = np.random.default_rng(0)
    n, n_samples, lag = 300, 1600, 5.3
    spectrum = np.fft.rfft(rng.standard_normal((n, n_samples + 400)))
    frequency = np.fft.rfftfreq(n_samples + 400)
    source = spectrum / np.sqrt(1 + (frequency / 0.1) ** 4)
    target = 0.5 * source * np.exp(-2j * np.pi * frequency * lag)
    x = np.fft.irfft(np.stack([source, target], 1))[..., 200 : 200 + n_samples]
    x[:, 1] += x[:, 1].std() * rng.standard_normal((n, n_samples))
    found = evidence(torch.from_numpy(x), torch.ones(n, 2, dtype=torch.bool))[1]
    spread = float((found.tau[:, 1, 0] - lag).std())
    told = float(found.tau_error[:, 1, 0].mean())
    assert abs(float(found.tau[:, 1, 0].mean()) - lag) < 0.02
    assert 0.85 < told / spread < 1.15, (told, spread)
