"""Planted discharges: the truth that they carry, and readouts that find it."""

import numpy as np
import pytest
from toys.discharges import CHANNELS, N_SAMPLES, RATE_HZ, background

from cldtrans.baselines.gcc_phat import GccPhat
from cldtrans.errors import DataError
from cldtrans.evaluation import planted
from cldtrans.scoring.leads import winner


def trials(n, snr_db, seed=0):
    rng = np.random.default_rng(seed)
    adjacent, mask = planted.neighbours(CHANNELS), np.ones(18, dtype=bool)
    leads, windows = [], []
    for x in background(n, seed):
        plan = planted.draw_plan(adjacent, mask, rng)
        wave = planted.discharge(plan.delay_s, N_SAMPLES, RATE_HZ, rng)
        windows.append(planted.add(x, wave, plan.gain, snr_db))
        leads.append(plan.lead)
    return np.stack(windows), np.array(leads)


def top1(scores, leads):
    return np.mean([winner(one)[lead] for one, lead in zip(scores, leads, strict=True)])


def test_readouts_find_a_planted_lead_and_energy_does_not():
    x, leads = trials(60, 15)
    mask = np.ones(x.shape[:2], dtype=bool)
    assert top1(GccPhat()(x, mask, RATE_HZ), leads) >= 0.9
    power = np.abs(np.fft.rfft(x)) ** 2
    frequency = np.fft.rfftfreq(N_SAMPLES, 1 / RATE_HZ)
    ceiling = 1 / 18 + 3 * np.sqrt(1 / 18 * 17 / 18 / 60)  # three standard errors above chance
    assert top1(x.var(axis=-1), leads) <= ceiling
    assert top1(power[..., (frequency > 2.5) & (frequency < 4.5)].sum(axis=-1), leads) <= ceiling
    assert top1(np.abs(np.diff(x)).mean(axis=-1), leads) <= ceiling


def test_discharge_is_delayed_as_planned():
    """Each channel is the lead's waveform later: known fractional delays of a sum of smooth pulses."""
    delay = np.array([0.0, 0.02, 0.0333, 0.25])
    wave = planted.discharge(delay, N_SAMPLES, RATE_HZ, np.random.default_rng(3))
    late = planted.discharge(delay + 0.5, N_SAMPLES, RATE_HZ, np.random.default_rng(3))
    scale = wave[0].max() / late[0].max()
    np.testing.assert_allclose(late[:, 80:] * scale, wave[:, :-80], atol=2e-2 * wave.max())
    tau = [np.argmax(np.correlate(one, wave[0], "full")) - (N_SAMPLES - 1) for one in wave]
    assert np.allclose(np.array(tau) / RATE_HZ, delay, atol=0.51 / RATE_HZ)


def test_plan_spreads_along_neighbours():
    adjacent = planted.neighbours(CHANNELS)
    assert (adjacent == adjacent.T).all()
    assert adjacent[CHANNELS.index("F7-T7"), CHANNELS.index("T7-P7")]
    assert adjacent[CHANNELS.index("FZ-CZ"), CHANNELS.index("F3-C3")]
    assert not adjacent[CHANNELS.index("FP1-F7"), CHANNELS.index("P8-O2")]
    mask = np.ones(18, dtype=bool)
    mask[4] = False
    for seed in range(20):
        plan = planted.draw_plan(adjacent, mask, np.random.default_rng(seed))
        assert mask[plan.lead]
        assert plan.gain[4] == 0
        assert (plan.gain[mask] > 0).all()  # the montage is connected
        later = np.delete(plan.delay_s, [plan.lead, 4])
        assert plan.delay_s[plan.lead] == 0
        assert (later >= planted.HOP_S[0]).all()
        assert sorted(plan.gain)[-1] == 1


def test_montage_is_derived_by_name():
    rng = np.random.default_rng(0)
    left, middle, right = ("Fp1 F7 T7 P7 O1 F3 C3 P3", "Fz Cz Pz", "Fp2 F4 C4 P4 O2 F8 T8 P8")
    names = tuple(name.ljust(4, ".") for name in f"{left} {right} {middle}".split())
    x = rng.standard_normal((2, 19, 50)).astype(np.float32)
    mask = np.ones((2, 19), dtype=bool)
    mask[1, 1] = False
    y, valid, channels = planted.to_double_banana(x, mask, names)
    assert channels == CHANNELS
    np.testing.assert_allclose(y[:, CHANNELS.index("P3-O1")], x[:, 7] - x[:, 4], rtol=1e-6)
    assert valid[0].all()
    assert [CHANNELS[c] for c in np.flatnonzero(~valid[1])] == ["FP1-F7", "F7-T7"]
    with pytest.raises(DataError, match="FP1-F7"):
        planted.to_double_banana(x[:, :2], mask[:, :2], ("EEG Fpz-Cz", "EEG Pz-Oz"))
