"""The bound of benchmarks/focal_bound.py, against likelihoods of windows that were put together again."""

from dataclasses import replace

import focal_bound
import numpy as np
import torch
from toys.discharges import CHANNELS, N_SAMPLES, RATE_HZ, background

from cldtrans.evaluation import discharges
from cldtrans.evaluation.planted import HOP_S
from cldtrans.lag.single_source.grids import STEP_S, Grids

PROJECTOR = discharges.onto_electrodes(CHANNELS)


def likelihood(quiet, window, grids):
    """Log likelihood of a window as background, up to a constant."""
    z = grids.spectrum(torch.from_numpy(window), grids.taper).numpy()
    precision = focal_bound._precision(quiet, grids)
    return -grids.kappa * np.einsum("if,fij,jf->", z.conj(), precision, z).real


def test_scores_are_odds_of_delays_of_one_channel() -> None:
    quiet = 20 * PROJECTOR @ background(1)[0].astype(float)
    found = discharges.draw("two", CHANNELS, N_SAMPLES, RATE_HZ, np.random.default_rng(4))
    mixed = discharges.plant(quiet, found, -5.0, PROJECTOR)
    grids = Grids(N_SAMPLES, RATE_HZ, 0.75, torch.zeros(1, dtype=torch.float64))
    first, second = found.sources
    scores = focal_bound.scores(quiet, found, (-5.0,))[0]
    for channel in (found.lead, 3, 11):
        log_bayes = []
        for delay_s in (0.0, *np.arange(HOP_S[0], 0.75 + STEP_S / 2, STEP_S)):
            delays = first.plan.delay_s.copy()
            delays[channel] = delay_s
            moved = replace(found, sources=(replace(first, plan=replace(first.plan, delay_s=delays)), second))
            model = discharges.plant(quiet, moved, -5.0, PROJECTOR) - quiet
            log_bayes.append(likelihood(quiet, mixed - model, grids))
        later = np.logaddexp.reduce(log_bayes[1:]) - np.log(len(log_bayes) - 1)
        np.testing.assert_allclose(scores[channel], log_bayes[0] - later, rtol=1e-6, atol=1e-6)
    assert scores.argmax() == found.lead
