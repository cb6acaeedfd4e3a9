"""Kinds of planted discharges: closed loops, delays as planned, and what each kind says of itself."""

import numpy as np
import pytest
from scipy.sparse.csgraph import shortest_path
from toys.discharges import CHANNELS, N_SAMPLES, RATE_HZ, background

from cldtrans.evaluation import discharges, planted
from cldtrans.evaluation.discharges import KINDS, RHYTHMS, Plan, Source

PROJECTOR = discharges.onto_electrodes(CHANNELS)
HOPS = shortest_path(planted.neighbours(CHANNELS).astype(float), unweighted=True)


def draw(kind, seed=0, rhythm="3-4 Hz spikes"):
    return discharges.draw(kind, CHANNELS, N_SAMPLES, RATE_HZ, np.random.default_rng(seed), rhythm)


def closed_background(seed=0):
    return 20 * PROJECTOR @ background(1, seed)[0].astype(float)


def shift_s(late, early):
    """Delay of one channel after another, to a fraction of a sample, from the phase of the cross-spectrum."""
    cross = np.fft.rfft(late, 4 * N_SAMPLES) * np.fft.rfft(early, 4 * N_SAMPLES).conj()
    curve = np.fft.irfft(cross, 64 * N_SAMPLES)
    at = int(np.argmax(np.abs(curve)))
    at = at - len(curve) if at > len(curve) // 2 else at
    return at / (16 * RATE_HZ)


@pytest.mark.parametrize("rhythm", RHYTHMS)
@pytest.mark.parametrize("kind", KINDS)
def test_loops_stay_closed(kind: str, rhythm: str) -> None:
    x = closed_background()
    mixed = discharges.plant(x, draw(kind, rhythm=rhythm), 20.0, PROJECTOR)
    assert np.linalg.matrix_rank(PROJECTOR) == 16
    assert np.abs(mixed - PROJECTOR @ mixed).max() < 1e-6
    left = [CHANNELS.index(name) for name in ("FP1-F7", "F7-T7", "T7-P7", "P7-O1")]
    right = [CHANNELS.index(name) for name in ("FP1-F3", "F3-C3", "C3-P3", "P3-O1")]
    assert np.abs(mixed[left].sum(0) - mixed[right].sum(0)).max() < 1e-6
    assert (np.abs(mixed - x).max() > 1) == (kind != "none")


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_waves_arrive_as_planned(rhythm: str) -> None:
    found = draw("falling", 3, rhythm)
    plan, wave = found.sources[0].plan, found.unmixed(found.sources[0])
    delay = [shift_s(one, wave[plan.lead]) for one in wave]
    assert found.lead == plan.lead == int(np.argmin(plan.delay_s))
    np.testing.assert_allclose(delay, plan.delay_s, atol=2e-3)
    size = np.sqrt((wave**2).sum(1))
    np.testing.assert_allclose(size / size[plan.lead], np.abs(plan.gain), rtol=0.12)
    assert 0.6 < wave[plan.lead].std() < 1.1  # unit variance, where it is on


def test_gains_of_a_single_source_say_nothing_and_others_fall() -> None:
    largest = [int(np.argmax(draw("single", seed).sources[0].plan.gain)) for seed in range(40)]
    assert np.mean([one == draw("single", seed).lead for seed, one in enumerate(largest)]) < 0.2
    for seed in range(5):
        plan = draw("falling", seed).sources[0].plan
        share = np.abs(plan.gain) / planted.HOP_GAIN ** HOPS[plan.lead]
        assert share[plan.lead] == 1
        assert (share >= discharges.GAIN_SPREAD[0]).all()
        assert (share <= discharges.GAIN_SPREAD[1]).all()


def test_conduction_shows_a_channel_at_its_neighbours_without_delay() -> None:
    found = draw("conducted", 1)
    alone = Source(Plan(4, np.zeros(18), np.eye(18)[4]), found.sources[0].wave)
    seen = found.mixing @ found.unmixed(alone)
    share = seen @ seen[4] / (seen[4] @ seen[4])
    np.testing.assert_allclose(share[HOPS[4] == 1], 0.35)
    np.testing.assert_allclose(share[HOPS[4] == 2], 0.12)
    assert not share[HOPS[4] > 2].any()
    for kind in ("single", "falling", "two", "drift"):
        np.testing.assert_array_equal(draw(kind, 1).mixing, np.eye(18))


def test_the_second_source_is_far_and_smaller() -> None:
    for seed in range(10):
        first, second = draw("two", seed).sources
        assert HOPS[first.plan.lead, second.plan.lead] >= 3
        assert np.abs(first.plan.gain[first.plan.lead]) == 1
        np.testing.assert_allclose(np.abs(second.plan.gain[second.plan.lead]), 0.7)
        time_s = np.arange(N_SAMPLES) / RATE_HZ
        assert np.abs(np.corrcoef(first.wave(time_s), second.wave(time_s))[0, 1]) < 0.9


def test_delays_drift_by_half_over_the_window() -> None:
    signs = set()
    for seed in range(6):
        found = draw("drift", seed, "6-8 Hz")
        source, far = found.sources[0], int(np.argmax(found.sources[0].plan.delay_s))
        delay_s, wave = source.plan.delay_s[far], found.delayed(source, source.plan.delay_s)
        time_s = np.arange(N_SAMPLES) / RATE_HZ
        for k in (N_SAMPLES // 2, N_SAMPLES - 1):
            factor = 1 + found.drift * (2 * k / (N_SAMPLES - 1) - 1)
            expected = source.wave(np.array([time_s[k] - factor * delay_s]))[0]
            np.testing.assert_allclose(wave[far, k], expected, atol=1e-9)
        np.testing.assert_array_equal(wave[found.lead], source.wave(time_s))
        signs.add(found.drift)
    assert signs == {-0.5, 0.5}


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_discharge_again(kind: str) -> None:
    x = closed_background()
    one, other, third = (discharges.plant(x, draw(kind, seed), 5.0, PROJECTOR) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, other)
    assert (one != third).any() == (kind != "none")


def test_windows_of_one_seizure_share_delays_and_gains() -> None:
    first = draw("two", 2)
    later = first.again(np.random.default_rng(1))
    time_s = np.arange(N_SAMPLES) / RATE_HZ
    for one, other in zip(first.sources, later.sources, strict=True):
        assert one.plan is other.plan
        assert (one.wave(time_s) != other.wave(time_s)).any()


def test_unknown_kinds_are_named() -> None:
    with pytest.raises(ValueError, match="no kind 'triple' of discharge; known: single"):
        draw("triple")
