"""`fit_ldsem` against simulated systems and the Cramér-Rao bound, its contract, its refusals."""

import numpy as np
import pytest
import torch
from toys.paths import MIRROR

from cldtrans.errors import DataError
from cldtrans.lag import fit_ldsem, lag_bounds, simulate_ldsem
from cldtrans.lag.fit.progress import Progress
from cldtrans.lag.fit.result import LagFit
from cldtrans.lag.simulate import Sample

RATE = 160.0
LONG, SHORT = 41 / RATE, 2 / RATE


def f1(fit: LagFit, world: Sample) -> float:
    hits = (fit.support & world.support).sum()
    return 2 * hits / max(1, fit.support.sum() + world.support.sum())


def error_over_bound(fit: LagFit, world: Sample) -> float:
    bound = lag_bounds(
        world.x,
        world.weight,
        np.nan_to_num(world.tau),
        RATE,
        world.self_dynamics,
        world.innovation,
        np.where(world.scale > 0, world.scale, 1.0),
        world.degrees_of_freedom,
    )
    found = fit.support & world.support
    return float(np.sqrt((((fit.tau - world.tau) / bound)[found] ** 2).mean()))


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("dynamics", [None, "ar2"])
def test_lags_are_found_at_the_bound(periodic, dynamics):
    world = simulate_ldsem(8, 60.0, RATE, self_dynamics=dynamics, periodic=periodic, seed=11)
    fit = fit_ldsem(world.x, RATE, LONG, periodic=periodic)
    assert f1(fit, world) == 1.0
    assert error_over_bound(fit, world) < 1.6  # 16 edges: one standard deviation above 1 is 0.18
    np.testing.assert_allclose(fit.sigma, world.scale, rtol=0.05)
    assert fit.warnings == []


def test_lags_below_one_sample_in_cycles_need_the_jacobian():
    world = simulate_ldsem(5, 60.0, RATE, lag_range_s=(0.05 / RATE, 1 / RATE), seed=12)
    fit = fit_ldsem(world.x, RATE, SHORT)
    assert f1(fit, world) == 1.0
    assert error_over_bound(fit, world) < 1.7
    without = fit_ldsem(world.x, RATE, SHORT, jacobian=False)
    assert f1(without, world) < 1.0 or error_over_bound(without, world) > 3.0


def test_student_innovations_and_their_degrees_of_freedom():
    world = simulate_ldsem(6, 60.0, RATE, innovation="student", degrees_of_freedom=4.0, seed=13)
    fit = fit_ldsem(world.x, RATE, LONG, "student")
    assert f1(fit, world) == 1.0
    assert error_over_bound(fit, world) < 1.7
    assert np.median(fit.degrees_of_freedom) == pytest.approx(4.0, abs=0.8)


def test_contract_of_the_result():
    world = simulate_ldsem(4, 30.0, RATE, seed=14)
    fit = fit_ldsem(torch.tensor(world.x, dtype=torch.float32), RATE, LONG)
    for name in ("tau", "tau_stderr", "weight", "weight_stderr", "support", "p_value"):
        assert np.asarray(getattr(fit, name)).shape == (4, 4), name
    assert fit.support.dtype == bool
    assert np.isnan(fit.tau[~fit.support]).all()
    assert np.isfinite(fit.tau[fit.support]).all()
    assert (fit.weight[~fit.support] == 0).all()
    assert (fit.p_value[fit.support] < 0.01).all()
    assert np.isfinite(fit.log_likelihood)
    table = fit.summary(["a", "b", "c", "d"])
    assert len(table) == fit.support.sum()
    first = table.iloc[0]
    target, source = "abcd".index(first["target"]), "abcd".index(first["source"])
    assert first["tau_ms"] == pytest.approx(1e3 * fit.tau[target, source])
    assert first["tau_low_ms"] < first["tau_ms"] < first["tau_high_ms"]


def test_progress_is_told_and_an_interrupt_keeps_the_best_model():
    world = simulate_ldsem(4, 30.0, RATE, seed=14)
    told: list[Progress] = []
    whole = fit_ldsem(world.x, RATE, LONG, progress=told.append)
    assert [p.n_rounds for p in told] == list(range(1, len(told) + 1))
    assert all(p.left_s > 0 and p.elapsed_s > 0 for p in told)
    assert not whole.interrupted

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    part = fit_ldsem(world.x, RATE, LONG, progress=stop)
    assert part.interrupted and part.warnings[0].startswith("interrupted")
    assert part.support.any() and part.log_likelihood <= whole.log_likelihood + 1.0


def test_units_scale_and_channels_permute():
    """Weights follow the input's units, lags do not; the order of the channels does not matter."""
    world = simulate_ldsem(5, 40.0, RATE, self_dynamics="ar2", seed=15)
    fit = fit_ldsem(world.x, RATE, LONG)
    gain = np.array([1e-6, 1e3, 1.0, 20.0, 0.3])
    order = np.array([3, 0, 4, 1, 2])
    changed = fit_ldsem((world.x * gain[:, None])[:, order], RATE, LONG)
    assert (changed.support == fit.support[np.ix_(order, order)]).all()
    np.testing.assert_allclose(changed.tau, fit.tau[np.ix_(order, order)], rtol=1e-3, atol=1e-6)
    unit = gain[:, None] / gain
    np.testing.assert_allclose(changed.weight, (fit.weight * unit)[np.ix_(order, order)], rtol=1e-2)
    np.testing.assert_allclose(changed.sigma, (fit.sigma * gain)[order], rtol=1e-3)
    n_scored = fit.n_scored
    assert changed.log_likelihood == pytest.approx(
        fit.log_likelihood - n_scored * np.log(gain).sum(), abs=0.5
    )


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("innovation", ["laplace", "gaussian"])
def test_worlds_without_edges_give_none(periodic, innovation):
    for seed in range(3):
        world = simulate_ldsem(
            6,
            20.0,
            RATE,
            edges_per_node=0,
            self_dynamics="ar2",
            innovation=innovation,
            periodic=periodic,
            seed=seed,
        )
        assert not fit_ldsem(world.x, RATE, LONG, innovation, periodic=periodic).support.any()


@pytest.mark.slow
def test_intervals_cover():
    """Pooled over worlds, 95 % intervals hold the truth 90 to 98 % of the time, for lags and weights."""
    tau_z, weight_z = [], []
    for seed in range(20):
        world = simulate_ldsem(6, 40.0, RATE, self_dynamics="ar2", periodic=bool(seed % 2), seed=100 + seed)
        fit = fit_ldsem(world.x, RATE, LONG, periodic=bool(seed % 2))
        found = fit.support & world.support
        tau_z += list(((fit.tau - world.tau) / fit.tau_stderr)[found])
        weight_z += list(((fit.weight - world.weight) / fit.weight_stderr)[found])
    for z in (tau_z, weight_z):
        assert len(z) > 200
        assert 0.90 < np.mean(np.abs(z) < 1.96) < 0.985


def test_dependent_and_constant_channels_are_left_out_by_name():
    world = simulate_ldsem(5, 40.0, RATE, dependent_channels=1, seed=16)
    x = np.concatenate([world.x, np.full_like(world.x[:, :1], 7.0)], 1)
    fit = fit_ldsem(x, RATE, LONG)
    assert fit.left_out == [5, 6]
    assert any("channel 5 is a linear combination" in line for line in fit.warnings)
    assert any("channels 6 are constant" in line for line in fit.warnings)
    assert (fit.support[:5, :5] == world.support[:5, :5]).all()
    assert not fit.support[5:].any()
    assert np.isnan(fit.sigma[5:]).all()


@pytest.mark.parametrize("drift", [0.5, 100.0])
def test_drift_and_scales_are_no_obstacle(drift):
    world = simulate_ldsem(
        5, 60.0, RATE, self_dynamics="ar2", drift=drift, channel_scale_range=(1e-6, 1e3), seed=17
    )
    fit = fit_ldsem(world.x, RATE, LONG)
    assert f1(fit, world) == 1.0
    assert error_over_bound(fit, world) < 1.5
    assert any("drift" in line for line in fit.warnings)


def test_a_slow_rhythm_taken_for_drift_makes_no_edges():
    # A loop of lagged edges makes channels 0 and 7 as slow as drift. Taken out of these two alone, it stayed
    # in what the others owe to them: twelve false edges.
    world = simulate_ldsem(8, 240.0, RATE, lag_range_s=(1 / RATE, LONG), self_dynamics="ar2", seed=741)
    fit = fit_ldsem(world.x, RATE, 41 / RATE)
    assert any("drift" in line for line in fit.warnings)
    assert f1(fit, world) == 1.0
    assert error_over_bound(fit, world) < 1.5


def test_poles_of_radius_098():
    world = simulate_ldsem(5, 60.0, RATE, self_dynamics="ar2", pole_radius=0.98, seed=18)
    fit = fit_ldsem(world.x, RATE, LONG)
    assert f1(fit, world) > 0.8
    assert np.isfinite(fit.tau_stderr[fit.support]).all()
    assert not (fit.support & ~world.support).any()


def test_long_own_past_is_found_by_itself():
    rng = np.random.default_rng(19)
    own = np.zeros((4, 12))
    own[:, 11] = 0.6  # one coefficient at a lag that the first eight do not reach
    own[:, 0] = rng.uniform(0.05, 0.15, 4)
    own[:, 7] = 0.15
    world = simulate_ldsem(4, 60.0, RATE, edges_per_node=1, self_dynamics=own, seed=19)
    fit = fit_ldsem(world.x, RATE, LONG)
    assert fit.self_dynamics.shape[1] >= 12
    assert f1(fit, world) == 1.0


def test_one_long_window_is_as_good_as_many():
    world = simulate_ldsem(5, 80.0, RATE, window_s=80.0, self_dynamics="ar2", seed=20)
    assert world.x.shape[0] == 1
    fit = fit_ldsem(world.x, RATE, LONG)
    assert f1(fit, world) == 1.0
    assert error_over_bound(fit, world) < 1.8


def test_false_discovery_rate_is_more_lenient():
    world = simulate_ldsem(8, 20.0, RATE, self_dynamics="ar2", seed=21)
    strict = fit_ldsem(world.x, RATE, LONG)
    lenient = fit_ldsem(world.x, RATE, LONG, error_rate="discovery", alpha=0.05)
    assert lenient.support.sum() >= strict.support.sum()
    assert (lenient.p_value[lenient.support] < 0.05).all()
    assert f1(lenient, world) > 0.85


def test_tanh_coupling():
    world = simulate_ldsem(4, 120.0, RATE, coupling="tanh", lag_range_s=(3 / RATE, 30 / RATE), seed=22)
    fit = fit_ldsem(world.x, RATE, LONG, nonlinearity="tanh")
    assert (fit.support == world.support).all()
    np.testing.assert_allclose(fit.tau[fit.support], world.tau[fit.support], atol=0.1 / RATE)
    np.testing.assert_allclose(fit.weight[fit.support], world.weight[fit.support], atol=0.05)


def test_band_limited_whittle_likelihood():
    """Half of the band is thrown away: the lags are still found, and less precisely."""
    world = simulate_ldsem(4, 120.0, RATE, innovation="gaussian", seed=23)
    whole = fit_ldsem(world.x, RATE, LONG, "gaussian")
    half = fit_ldsem(world.x, RATE, LONG, "gaussian", band_hz=(2.0, 40.0))
    assert (half.support == world.support).all()
    error = np.abs(half.tau - world.tau)[world.support]
    assert (error < 5 * half.tau_stderr[world.support]).all()
    assert (half.tau_stderr[world.support] > 1.5 * whole.tau_stderr[world.support]).all()


def test_gaussian_innovations_are_noticed():
    world = simulate_ldsem(4, 60.0, RATE, innovation="gaussian", seed=24)
    fit = fit_ldsem(world.x, RATE, LONG)
    assert any("look Gaussian" in line for line in fit.warnings)
    assert np.abs(fit.kurtosis).max() < 0.3


def test_lag_at_the_boundary_is_noticed():
    world = simulate_ldsem(
        2, 60.0, RATE, edges_per_node=0.5, lag_range_s=(10 / RATE, 10 / RATE), self_dynamics="ar2", seed=25
    )
    fit = fit_ldsem(world.x, RATE, 9.8 / RATE)
    assert any("tau_max" in line for line in fit.warnings)


BAD = [
    ({"innovation": "cauchy"}, "known: laplace, student, gaussian"),
    ({"tau_max": 0.0}, "must be positive"),
    ({"tau_max": 2.0}, "too short"),
    ({"alpha": 2.0}, "between 0 and 1"),
    ({"band_hz": (1.0, 40.0)}, "use innovation='gaussian'"),
    ({"band_hz": (1.0, 400.0), "innovation": "gaussian"}, "0 <= low < high <= 80"),
    ({"nonlinearity": "tanh", "tau_max": 0.01}, "lags under two samples"),
    ({"nonlinearity": "relu"}, "known: identity, tanh"),
]


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_bad_settings_are_refused_in_one_line(settings, message):
    x = np.random.default_rng(0).standard_normal((4, 3, 320))
    with pytest.raises(DataError, match=message) as error:
        fit_ldsem(x, RATE, **({"tau_max": 0.1} | settings))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 100)), r"expected \[windows, channels, samples\]"),
        (np.full((2, 3, 400), np.nan), "NaN or infinity in channels"),
        (np.zeros((2, 3, 400)), "no channel varies"),
        (np.ones((2, 3, 400), complex), "expected real numbers"),
        (np.random.default_rng(0).standard_normal((1, 2, 120)), "too short|are needed"),
    ],
)
def test_bad_input_is_refused(x, message):
    with pytest.raises(DataError, match=message):
        fit_ldsem(x, RATE, 0.1)


@pytest.mark.data
@pytest.mark.parametrize("lag", [0.37, 3.62])
def test_real_eeg_delayed_against_itself(lag):
    """A band-limited recording, resampled to its band, delayed by a known amount, with noise at 20 dB."""
    recording = MIRROR / "eegmmidb" / "1.0.0" / "S001" / "S001R01.edf"
    if not recording.exists():
        pytest.skip(f"{recording} is not there: no local mirror of the recordings")
    import mne
    from scipy import signal

    raw = mne.io.read_raw_edf(recording, preload=True, verbose="ERROR").get_data(picks=[10])[0] * 1e6
    filtered = signal.sosfiltfilt(signal.butter(4, (0.5, 40), "bandpass", fs=160, output="sos"), raw)
    source = signal.resample_poly(filtered, 9, 16)  # 90 Hz: the band fills nearly 90 % of the spectrum
    frequency = np.fft.rfftfreq(len(source))
    moved = np.fft.irfft(np.fft.rfft(source) * np.exp(-2j * np.pi * frequency * lag), len(source))
    moved += 0.1 * source.std() * np.random.default_rng(0).standard_normal(len(source))
    both = np.stack([source, moved])[:, : len(source) // 900 * 900]
    fit = fit_ldsem(both.reshape(2, -1, 900).swapaxes(0, 1), 90.0, 12 / 90.0)
    assert fit.support[1, 0]
    assert fit.tau[1, 0] * 90.0 == pytest.approx(lag, abs=0.02)


def mixed_own_past(rng: np.random.Generator, n_channels: int) -> np.ndarray:
    """Poles of orders 1 to 6 a channel, radius up to 0.9, 3-28 Hz; coefficients [C, 6]."""
    own = np.zeros((n_channels, 6))
    for channel in range(n_channels):
        order = rng.integers(1, 7)
        poles: list[complex] = []
        for _ in range(order // 2):
            radius, angle = rng.uniform(0.6, 0.9), 2 * np.pi * rng.uniform(3, 28) / RATE
            poles += [radius * np.exp(1j * angle), radius * np.exp(-1j * angle)]
        if order % 2:
            poles.append(rng.uniform(-0.8, 0.8))
        own[channel, :order] = -np.poly(poles).real[1:]
    return own


def test_a_strong_slow_source_does_not_ring():
    """Channels many times larger than their innovations, in windows cut from a record.

    With zeros beyond a window's end the jump there rang through scored samples: a lag was five samples off,
    and two false edges described the ringing.
    """
    world = simulate_ldsem(
        8,
        60.0,
        RATE,
        self_dynamics=mixed_own_past(np.random.default_rng(3003), 8),
        weight_range=(0.12, 0.6),
        channel_scale_range=(1e-3, 1e3),
        seed=3003,
    )
    fit = fit_ldsem(world.x, RATE, LONG)
    assert f1(fit, world) == 1.0
    assert error_over_bound(fit, world) < 1.5
