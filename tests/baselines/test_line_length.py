"""The rise of line length, put where it is known."""

import numpy as np
from toys.discharges import N_SAMPLES, RATE_HZ

from cldtrans.baselines.line_length import LineLength


def test_line_length_ranks_by_the_time_of_the_rise():
    rng = np.random.default_rng(0)
    x = 0.2 * rng.standard_normal((1, 4, N_SAMPLES))
    for channel, start in enumerate((600, 300, 900)):
        x[0, channel, start:] *= 5
    scores = LineLength()(x, np.ones((1, 4), dtype=bool), RATE_HZ)[0]
    assert scores.argsort().tolist() == [3, 2, 0, 1]  # the channel that never rises comes last
