"""The search's tables against sums in the time domain, and edges found where they are."""

import numpy as np
import pytest
from scipy import stats

from cldtrans.lag.fit.search import PER_SAMPLE, Grid, Threshold
from cldtrans.lag.fit.spectra import to_spectra

MAX_LAG = 6.0


def data(seed: int = 0):
    x = np.random.default_rng(seed).standard_normal((3, 2, 128))
    return to_spectra(x, None, MAX_LAG, periodic=False)


def test_correlations_and_energies_are_sums_over_samples():
    spectra = data()
    grid = Grid.of(spectra, (0.0, MAX_LAG))
    fixed = np.random.default_rng(1).standard_normal((1, 3, spectra.n_fft)) * spectra.scored
    found = grid.correlate(np.fft.rfft(fixed))
    for source in range(2):
        for k in (0, 3, 17, 48):
            delayed = spectra.samples(spectra.source[source] * spectra.delay(np.array(k / PER_SAMPLE)))
            assert found[0, source, k] == pytest.approx((fixed[0] * delayed).sum())
            assert grid.energy[source, k] == pytest.approx((spectra.scored * delayed**2).sum())
            if k % PER_SAMPLE == 0:  # a whole sample: the window itself, moved
                moved = np.roll(spectra.samples(spectra.source[source]), k // PER_SAMPLE, -1)
                np.testing.assert_allclose(delayed, moved, atol=1e-12)


def test_thresholds_and_p_values_are_inverse_and_cover_the_search():
    threshold = Threshold.of(data(), MAX_LAG)
    assert threshold.n_pairs == 2
    for p in (0.2, 0.01, 1e-6):
        assert float(threshold.p(np.array(threshold.z(p)))) == pytest.approx(p, rel=1e-6)
    z = np.linspace(2, 6, 9)
    assert (threshold.p(z) > threshold.p_pair(z)).all() and (threshold.p_pair(z) > 2 * stats.norm.sf(z)).all()


def test_a_searched_pair_is_as_rarely_significant_as_its_p_value_says():
    """Largest |z| over the grid of lags of two channels that owe each other nothing."""
    rng = np.random.default_rng(0)
    spectra = to_spectra(rng.standard_normal((1, 2, 256)), None, 0.0, periodic=True)
    threshold, limit = Threshold.of(spectra, 20.0), 0.1
    false = 0
    for _ in range(400):
        one = to_spectra(rng.standard_normal((1, 2, 256)), None, 0.0, periodic=True)
        grid = Grid.of(one, (0.0, 20.0))
        z = grid.correlate(one.spectrum[:1])[0, 1] / np.sqrt(grid.energy[1])
        false += float(threshold.p_pair(np.abs(z).max())) < limit
    assert 0.06 < false / 400 < 0.14
