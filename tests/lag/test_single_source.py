"""The single-source model against brute force, algebra, and discharges whose lead is known."""

import numpy as np
import pytest
import torch
from scipy import stats
from toys.discharges import CHANNELS, N_SAMPLES, RATE_HZ, background

from cldtrans.data.montages.electrodes import closing_a_loop
from cldtrans.evaluation import planted
from cldtrans.evaluation.discharges import draw_wave
from cldtrans.lag import focal_lead
from cldtrans.lag.single_source import conduction
from cldtrans.lag.single_source.conduction import CONDUCTED as SHARE_SEEN
from cldtrans.lag.single_source.conduction import judge_beyond
from cldtrans.lag.single_source.discharge import Inference
from cldtrans.lag.single_source.focal import log_lead, read
from cldtrans.lag.single_source.grids import STEP_S, Grids, Paths
from cldtrans.lag.single_source.leading import LATER_S, TAKES_PART, likeliest, log_first
from cldtrans.lag.single_source.noise import MISFITS, background_covariance, quiet_of, whitened

PLAIN, CONDUCTED, GROWING, SHRINKING = slice(0, 3), 3, 4, 5  # assumptions
DELAYS_S = np.array([0.0, 0.03, 0.06, 0.09, 0.12, 0.15])


def spikes(snr_db, seed=0, gains=(1.0, 0.8, -0.7, 0.6, 0.9, 0.5), delays_s=DELAYS_S):
    """A train of spikes in pink noise of six channels, channel 0 first; and noise without it."""
    noise = background(9, seed, len(delays_s)).astype(float)
    wave = planted.discharge(delays_s, N_SAMPLES, RATE_HZ, np.random.default_rng(seed))
    return noise[0] + 10 ** (snr_db / 20) * np.array(gains)[:, None] * wave, noise[1:]


def test_lead_delays_and_participation_of_a_known_discharge():
    x, quiet = spikes(10)
    found = focal_lead(x, RATE_HZ, quiet)
    assert found.log_posterior.argmax() == 0 and np.exp(found.log_posterior[0]) > 0.9
    assert np.exp(found.log_posterior).sum() == pytest.approx(1)
    assert found.delay[0] == 0 and found.delay_stderr[0] == 0
    assert (np.abs(found.delay - DELAYS_S) <= 3 * found.delay_stderr).all()
    assert (found.delay_stderr[1:] < 0.002).all()
    assert (found.participation > 0.99).all() and found.evidence > 100 and found.found
    table = found.summary(list("abcdef"))
    assert list(table["channel"][:1]) == ["a"] and len(table) == 6
    with pytest.raises(ValueError, match="2 channel names for 6"):
        found.summary(["a", "b"])


def test_standard_errors_are_those_of_repeated_draws():
    errors = []
    for seed in range(24):
        x, quiet = spikes(5, seed, gains=(1.0, 0.8, 0.7, 0.6, 0.9, 0.8))
        one = focal_lead(x, RATE_HZ, quiet)
        if one.log_posterior.argmax() == 0:
            errors.append((one.delay - DELAYS_S)[1:] / one.delay_stderr[1:])
    z = np.concatenate(errors)
    assert len(errors) >= 22
    assert 0.5 < np.sqrt(np.mean(z[np.abs(z) < 5] ** 2)) < 2.0
    assert np.mean(np.abs(z) < 2) > 0.85


def test_a_channel_without_the_discharge_does_not_take_part():
    x, quiet = spikes(10, gains=(1.0, 0.8, 0.0, 0.6, 0.9, 0.0))
    found = focal_lead(x, RATE_HZ, quiet)
    assert (found.participation[[2, 5]] < 0.5).all() and np.isnan(found.delay[[2, 5]]).all()
    assert (found.participation[[0, 1, 3, 4]] > 0.9).all()


def test_noise_alone_has_no_lead():
    evidence = np.array(
        [focal_lead(x[0], RATE_HZ, x[1:]).evidence for x in (background(9, k) for k in range(20))]
    )
    assert (evidence < 0).all()
    found = focal_lead(background(9, 99)[0], RATE_HZ, background(9, 99)[1:])
    assert not found.found and np.isnan(found.delay).all() and (found.participation < 0.01).all()


def test_a_discharge_is_not_claimed_from_the_windows_own_start():
    """What a start tells of noise is too little: quiet windows have evidence there, and must not be found."""
    quiet = [incidence() @ background(1, 500 + k, 19)[0] for k in range(40)]
    assert np.mean([focal_lead(x, RATE_HZ).found for x in quiet]) <= 0.1
    x, _, _ = planted_windows(4, 20)
    assert all(focal_lead(one, RATE_HZ).found for one in x)


def incidence():
    """Electrodes to channels, [18, 19]."""
    electrodes = sorted({end for name in CHANNELS for end in name.split("-")})
    ends = [name.split("-") for name in CHANNELS]
    return np.array([[float(e == a) - float(e == b) for e in electrodes] for a, b in ends])


def planted_windows(n, snr_db, seed=0):
    """Discharges on the double banana, whose loops close in background and discharge."""
    derive = incidence()
    close = derive @ np.linalg.pinv(derive)
    rng = np.random.default_rng(seed)
    adjacent, mask = planted.neighbours(CHANNELS), np.ones(18, dtype=bool)
    x, quiet, leads = [], [], []
    for k in range(n):
        # Potentials of several sizes: channels are scaled, and what they can hold is scaled with them.
        size = np.linspace(0.6, 1.6, derive.shape[1])[rng.permutation(derive.shape[1]), None]
        noise = derive @ (size * background(7, seed * 1000 + k, derive.shape[1]))
        plan = planted.draw_plan(adjacent, mask, rng)
        wave = planted.discharge(plan.delay_s, N_SAMPLES, RATE_HZ, rng)
        signal = noise[0].std(axis=1, keepdims=True) * plan.gain[:, None] * wave
        x.append(noise[0] + 10 ** (snr_db / 20) * close @ signal)
        quiet.append(noise[1:])
        leads.append(plan.lead)
    return np.stack(x).astype(np.float32), np.stack(quiet).astype(np.float32), np.array(leads)


def test_planted_leads_with_and_without_background():
    x, quiet, leads = planted_windows(40, 5)
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    known = log_lead(torch.from_numpy(x)[:, None], RATE_HZ, torch.from_numpy(quiet), mask)
    alone = log_lead(torch.from_numpy(x)[:, None], RATE_HZ, None, mask)
    assert np.mean(known.argmax(1).numpy() == leads) >= 0.9
    assert np.mean(alone.argmax(1).numpy() == leads) >= 0.75
    assert torch.allclose(known.exp().sum(1), torch.ones(len(x)), atol=1e-4)


def test_what_a_montage_cannot_hold_is_not_looked_for():
    """Outside the loops' sums there is no noise, so whatever a discharge has there must not count."""
    x, quiet, _ = planted_windows(3, 5)
    loop = np.zeros(18)
    for sign, chain in ((1, "FP1-F7 F7-T7 T7-P7 P7-O1"), (-1, "FP1-F3 F3-C3 C3-P3 P3-O1")):
        loop[[CHANNELS.index(name) for name in chain.split()]] = sign
    grids = Grids(N_SAMPLES, RATE_HZ, 0.75, torch.zeros(()))
    mask = torch.ones(3, 18, dtype=torch.bool)
    x = torch.from_numpy(x)
    noise = whitened(x[:, None], quiet_of(x[:, None], torch.from_numpy(quiet), mask, grids), grids)
    assert (torch.linalg.matrix_rank(noise.precision, rtol=1e-4) == 16).all()
    assert len(closing_a_loop(CHANNELS)) == 2
    scale = noise.spectrum.abs().amax((1, 3)) / grids.spectrum(x, grids.taper).abs().amax(-1)
    empty = torch.from_numpy(loop).float() * scale
    pressed = noise.precision @ empty[:, None, None, None, :, None]
    assert pressed.abs().max() < 1e-3 * noise.precision.abs().max()


def test_channels_that_have_nearly_everything_in_common_are_told_apart():
    """32 electrodes against one reference: what is their own has a hundredth of the power, and counts."""
    rng, n_channels = np.random.default_rng(0), 32
    delay = np.concatenate([[0.0], rng.uniform(0.03, 0.4, n_channels - 1)])[rng.permutation(n_channels)]
    lead = int(delay.argmin())
    noise = background(5, 1, n_channels).astype(float) + 10 * background(5, 2, 1)
    wave = planted.discharge(delay, N_SAMPLES, RATE_HZ, rng)
    found = focal_lead(noise[0] + 2 * rng.choice([-1, 1], (n_channels, 1)) * wave, RATE_HZ, noise[1:])
    assert found.log_posterior.argmax() == lead and (found.participation > 0.9).sum() > 0.8 * n_channels


def test_precision_is_the_inverse_of_the_noise_it_is_made_of():
    x, quiet = (torch.from_numpy(part)[None] for part in spikes(0))
    x = x[None]
    grids = Grids(N_SAMPLES, RATE_HZ, 0.75, x)
    noise = whitened(x, quiet_of(x, quiet, torch.ones(1, 6, dtype=torch.bool), grids), grids)
    covariance, raw = background_covariance(quiet, torch.ones(1, 6, dtype=torch.bool), grids)
    scale = raw.diagonal(dim1=1, dim2=2).rsqrt()
    scaled = (covariance * scale[:, None, :, None] * scale[:, None, None])[0]
    # Without misfit in noise alone: what is added is a diagonal that is not negative.
    added = torch.linalg.inv(noise.precision[0, 0, 0]) - 0.9 * scaled
    off = added - torch.diag_embed(added.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < 1e-8
    assert (added.diagonal(dim1=1, dim2=2) >= 0.1 * scaled.diagonal(dim1=1, dim2=2) - 1e-9).all()
    assert noise.precision.shape[1] == len(MISFITS)


def test_misfits_are_shares_of_the_channels_own_excess_and_of_the_mean_one():
    x, quiet = (torch.from_numpy(part)[None] for part in spikes(10, gains=(1.0, 0.8, 0.0, 0.6, 0.9, 0.5)))
    grids = Grids(N_SAMPLES, RATE_HZ, 0.75, x)
    noise = whitened(x[None], quiet_of(x[None], quiet, torch.ones(1, 6, dtype=torch.bool), grids), grids)
    variance = torch.linalg.inv(noise.precision[0, :, 0]).diagonal(dim1=-2, dim2=-1).numpy()  # [M, S, C]
    shares = np.array([[m.pooled, m.excess, 1.0] for m in MISFITS])
    (pooled, excess, _), *_ = np.linalg.lstsq(shares, variance.reshape(len(MISFITS), -1))
    pooled, excess = pooled.reshape(-1, 6), excess.reshape(-1, 6)
    np.testing.assert_allclose(pooled, pooled[:, :1].repeat(6, 1), atol=1e-6 * pooled.max())
    np.testing.assert_allclose(pooled[:, 0], excess.mean(1), rtol=0.5, atol=0.1 * pooled.max())
    assert (pooled >= -1e-6).all() and (excess >= -1e-6).all() and pooled.max() > 1
    assert excess[:, 2].max() < 0.2 * excess[:, 0].max()  # the channel without the discharge


def test_backgrounds_of_any_length_have_the_power_of_the_window():
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 12, 4, 4 * N_SAMPLES)))
    mask = torch.ones(1, 4, dtype=torch.bool)
    grids = Grids(N_SAMPLES, RATE_HZ, 0.75, noise)
    power = [
        background_covariance(noise[..., :length], mask, grids, edge)[0].diagonal(dim1=-2, dim2=-1).mean()
        for length in (320, 800, N_SAMPLES, 2400, 4 * N_SAMPLES)
        for edge in (0.05, 0.25)
    ]
    expected = grids.taper.square().sum()  # of white noise, whose variance is one
    np.testing.assert_allclose(np.array(power), expected, rtol=0.06)


def test_a_channel_does_not_find_itself():
    """A rhythm of one channel alone is not something that reaches the others."""
    for seed in range(4):
        x, quiet = spikes(15, seed, gains=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0))
        found = focal_lead(x, RATE_HZ, quiet)
        assert not found.found and (found.participation[1:] < 0.6).all()  # the prior is a half


def reading_of(x, quiet):
    """What windows [C, T] or [N, C, T] say."""
    x, quiet = torch.from_numpy(x if x.ndim == 3 else x[None]), torch.from_numpy(quiet)
    return read(x[None], RATE_HZ, quiet[None], torch.ones(1, x.shape[1], dtype=torch.bool), 0.75)


def drifting(drift, seed=0, snr_db=5):
    """Spikes whose delays run from 1 - drift to 1 + drift times what they are in the middle."""
    noise = background(9, seed, 6).astype(float)
    rng = np.random.default_rng(seed)
    wave = draw_wave("3-4 Hz spikes", N_SAMPLES, RATE_HZ, rng)
    time_s = np.arange(N_SAMPLES) / RATE_HZ
    factor = 1 + drift * (2 * time_s / time_s[-1] - 1)
    x = np.array([1.0, 0.8, -0.7, 0.6, 0.9, 0.5])[:, None] * wave(time_s - 2 * DELAYS_S[:, None] * factor)
    return noise[0] + 10 ** (snr_db / 20) * x, noise[1:]


@pytest.mark.parametrize(("drift", "right"), [(0.0, None), (0.5, GROWING), (-0.5, SHRINKING)])
def test_delays_that_drift_are_told_from_those_that_do_not(drift, right):
    for seed in range(3):
        windows = [drifting(drift, seed + 10 * k)[0] for k in range(2)]
        quiet = drifting(drift, seed)[1]
        for x in (windows[0], np.stack(windows)):
            reading = reading_of(x, quiet)
            share = reading.log_share[0].exp()
            assert share.sum().item() == pytest.approx(1)
            if right is None:
                assert share[GROWING:].sum() < 0.01
            else:
                assert share[right] > 0.99 and reading.log_first[0, right].argmax() == 0
                assert reading.evidence[0].argmax() == right
                delay = reading.delay[0, right] - reading.delay[0, right, 0]
                np.testing.assert_allclose(delay, 2 * DELAYS_S, atol=0.02)


def test_windows_too_short_for_parts_are_not_asked_for_drift():
    x, quiet = spikes(5)
    for seconds, count in ((5.9, 4), (6.1, 6)):
        reading = reading_of(x[:, : round(seconds * RATE_HZ)], quiet)
        assert reading.evidence.shape[1] == reading.log_share.shape[1] == count
        assert reading.log_share[0].exp().sum().item() == pytest.approx(1)


def test_paths_by_brute_force():
    grids = Grids(320, RATE_HZ, 0.2, torch.zeros(()).double())
    rng = np.random.default_rng(0)
    factors = np.array([[1.0, 1.0], [0.5, 1.5]])
    paths = Paths(grids, tuple(map(tuple, factors.tolist())))
    n_bins, delays = len(grids.bins), grids.delays.numpy()
    z = rng.standard_normal((4, 3, 6, n_bins)) + 1j * rng.standard_normal((4, 3, 6, n_bins))
    hertz = grids.width_hz * grids.bins.numpy()
    turn = np.exp(2j * np.pi * hertz * factors[..., None, None] * delays[:, None])  # [A, K, D, F]
    turn = np.tile(turn, (2, 3, 1, 1))  # the windows, and the windows' parts, take turns
    expected = np.einsum("blnf,bndf->bdl", z, turn).real
    sides = grids.sides(torch.from_numpy(z).transpose(1, 2))
    np.testing.assert_allclose(paths.at_delays(sides[:, None])[:, 0], expected, atol=1e-9)
    one = Paths(grids).rows_at_delays(sides[0, 0].flatten(0, 2).mT, 3)
    expected = np.einsum("lf,df->ld", z[0, :, 0], turn[0, 0]).real[:, ::3]
    np.testing.assert_allclose(one, expected, atol=1e-9)
    weight = torch.from_numpy(rng.standard_normal((4, len(delays), 3)))
    v = as_complex(paths.of_delays(weight[:, None])[:, 0])
    np.testing.assert_allclose(v, np.einsum("bdl,bkdf->bklf", weight, turn[:, :2].conj()), atol=1e-9)


def as_complex(sides):
    """[..., S, 2, m, C] -> complex [..., C, F]."""
    z = torch.complex(*sides.unbind(-3))
    return z.flatten(-3, -2).mT.numpy()


def test_conduction_is_told_from_none_and_the_lead_from_its_neighbours():
    """Channels see half of what the others have: a neighbour is as early as the lead, and no larger."""
    hits = []
    for seed in range(6):
        x, quiet = spikes(0, seed, gains=(0.0,) * 6)
        wave = planted.discharge(2 * DELAYS_S, N_SAMPLES, RATE_HZ, np.random.default_rng(seed))
        gains = np.array([1.0, 0.9, -0.8, 0.9, 0.8, 0.9])
        for share in (0.0, 0.35):
            mixing = np.eye(6) + share * (1 - np.eye(6))
            reading = reading_of(x + 2 * mixing @ (gains[:, None] * wave), quiet)
            if share:
                assert reading.log_share[0, CONDUCTED].exp() > 0.9
                hits.append([int(reading.log_first[0, k].argmax()) == 0 for k in (0, 1, 2, CONDUCTED)])
            else:
                assert reading.log_share[0, CONDUCTED].exp() < 0.5
    plain, conducted = np.mean(hits, 0)[:3], np.mean(hits, 0)[3]
    assert conducted == 1 and plain.min() < 0.9


def test_conduction_from_the_channels_with_most_of_the_discharge_is_nearly_all_of_it(monkeypatch):
    gains = np.concatenate([[1.0, 0.9, -0.8, 0.9, 0.8, 0.9], np.zeros(22)])
    x, quiet = spikes(5, 3, gains, np.concatenate([DELAYS_S, np.zeros(22)]))
    some = reading_of(x, quiet)
    monkeypatch.setattr(conduction, "MOST", 8)
    few = reading_of(x, quiet)
    monkeypatch.setattr(conduction, "MOST", 28)
    every = reading_of(x, quiet)
    for found in (some, few):
        apart = (found.log_first[0, CONDUCTED].exp() - every.log_first[0, CONDUCTED].exp()).abs().max()
        assert apart < 0.02


def test_conduction_is_integrated_out_as_brute_force_does():
    x, quiet = (torch.from_numpy(part)[None] for part in spikes(3))
    grids = Grids(N_SAMPLES, RATE_HZ, 0.2, x)
    noise = whitened(x[None], quiet_of(x[None], quiet, torch.ones(1, 6, dtype=torch.bool), grids), grids)
    inference = Inference(noise.spectrum, noise.precision[:, 2], noise.valid, grids, Paths(grids))
    state, _ = inference.refine(inference.begin(5, 3), 2)
    found, gained = judge_beyond(inference, state)

    compared = inference.compare(state)
    weight = 2 * grids.kappa * compared.weight[0, 0, 0].flatten(0, 1).mT.numpy()  # [C, F]
    match = 2 * grids.kappa * as_complex(compared.match[0, 0, 0])
    v = as_complex(state.mean[0, 0, 0])
    hertz, delays = grids.width_hz * grids.bins.numpy(), grids.delays.numpy()
    total = 0.0
    for c in range(6):
        others = [j for j in range(6) if j != c]

        def log_bayes(rows, deviations, c=c):
            """Log evidence of regressors with normal coefficients, against none of them."""
            gram = (weight[c] * rows.conj() @ rows.T).real + np.diag(1.0 / deviations**2)
            seen = (rows.conj() @ match[c]).real
            size = np.linalg.slogdet(gram * np.outer(deviations, deviations))[1]
            return (seen @ np.linalg.solve(gram, seen) - size) / 2

        spread = np.full(5, SHARE_SEEN)
        mixed = log_bayes(v[others], spread)
        own = [np.exp(-2j * np.pi * hertz * d) for d in delays]
        beyond = np.array([log_bayes(np.vstack([one, v[others]]), np.append(1.0, spread)) for one in own])
        plain = np.array([log_bayes(one[None], np.ones(1)) for one in own])
        np.testing.assert_allclose(found.log_bayes[0, 0, ::2, c], (beyond - mixed)[::2], atol=1e-6)
        np.testing.assert_allclose(found.log_bayes[0, 0, :, c], beyond - mixed, rtol=0.05, atol=0.5)
        total += np.logaddexp.reduce(found.log_bayes[0, 0, :, c].numpy()) + mixed - np.logaddexp.reduce(plain)
    assert gained.item() == pytest.approx(total, abs=1e-6)


def test_noise_of_parts_is_that_of_the_window():
    noise = torch.from_numpy(background(60, 0, 3).astype(float))[None]
    mask = torch.ones(1, 3, dtype=torch.bool)
    whole, part = (Grids(n, RATE_HZ, 0.75, noise) for n in (N_SAMPLES, N_SAMPLES // 3))
    moved = quiet_of(noise[:, :1], noise, mask, whole).on(whole, part)
    pieces = noise[..., : N_SAMPLES // 3 * 3].unflatten(-1, (3, -1)).transpose(2, 3).flatten(1, 2)
    measured = quiet_of(pieces[:, :1], pieces, mask, part)
    size = (measured.scale / moved.scale).square()[:, None, :]  # one is scaled by whole windows
    variance = [quiet.covariance.diagonal(dim1=-2, dim2=-1) for quiet in (moved, measured)]
    np.testing.assert_allclose(variance[0], variance[1] / size, rtol=0.25)
    assert (variance[0] * size / variance[1]).mean().item() == pytest.approx(1, abs=0.05)


def test_the_first_channel_by_brute_force():
    rng = np.random.default_rng(0)
    log_bayes = 3 * rng.standard_normal((4, 15))
    later = np.exp(-STEP_S / LATER_S * np.arange(15))
    later /= later.sum()
    expected = np.zeros(4)
    for c in range(4):
        total = 0.0
        for d in range(15):
            term = np.exp(log_bayes[c, d])
            for j in range(4):
                if j != c:
                    after = sum(later[s] * np.exp(log_bayes[j, d + s]) for s in range(15 - d))
                    term *= 1 - TAKES_PART + TAKES_PART * after
            total += term
        expected[c] = np.log(total)
    valid = torch.ones(4, dtype=torch.bool)
    np.testing.assert_allclose(log_first(torch.from_numpy(log_bayes), valid), expected, rtol=1e-6)
    masked = log_first(torch.from_numpy(log_bayes), torch.tensor([True, True, False, True]))
    assert torch.isneginf(masked[2]) and masked[[0, 1, 3]].isfinite().all()


def test_the_likeliest_delay_of_a_narrow_and_of_a_wide_posterior():
    delays = torch.linspace(-0.5, 0.5, 161).double()
    for deviation in (0.001, 0.02):
        log_bayes = torch.from_numpy(stats.norm.logpdf(delays, 0.1234, deviation))[None]
        delay, spread = likeliest(log_bayes, delays)
        assert delay.item() == pytest.approx(0.1234, abs=1e-6)
        assert spread.item() == pytest.approx(deviation, rel=0.1)


def test_order_unit_kind_and_layout_change_nothing():
    x, quiet = spikes(0)
    order = np.random.default_rng(1).permutation(6)
    base = focal_lead(x, RATE_HZ, quiet)
    for other in (
        focal_lead(x[None], RATE_HZ, quiet),
        focal_lead(torch.from_numpy(x), RATE_HZ, torch.from_numpy(quiet)),
        focal_lead(1e-6 * x, RATE_HZ, 1e-6 * quiet),
        focal_lead(1e4 * x.astype(np.float32), RATE_HZ, 1e4 * quiet.astype(np.float32)),
    ):
        np.testing.assert_allclose(other.log_posterior, base.log_posterior, atol=2e-2)
        np.testing.assert_allclose(other.delay, base.delay, atol=1e-4)
    moved = focal_lead(x[order], RATE_HZ, quiet[:, order])
    np.testing.assert_allclose(moved.log_posterior, base.log_posterior[order], atol=1e-5)


def test_masked_channels_and_other_windows_of_a_batch_change_nothing():
    parts = [spikes(0, seed) for seed in range(3)]
    x, quiet = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
    x = x[:, None]
    mask = torch.ones(3, 6, dtype=torch.bool)
    mask[:, 4] = False
    whole = log_lead(x, RATE_HZ, quiet, mask)
    x[:, :, 4], quiet[:, :, 4] = torch.nan, 1e9
    kept = [0, 1, 2, 3, 5]
    torch.testing.assert_close(log_lead(x, RATE_HZ, quiet, mask), whole)
    assert torch.isneginf(whole[:, 4]).all()
    fewer = log_lead(x[:, :, kept], RATE_HZ, quiet[:, :, kept], mask[:, kept])
    torch.testing.assert_close(fewer, whole[:, kept], atol=1e-4, rtol=1e-4)
    alone = log_lead(x[1:2], RATE_HZ, quiet[1:2], mask[1:2])
    torch.testing.assert_close(alone[0], whole[1], atol=1e-6, rtol=1e-6)


def test_several_windows_of_a_discharge_tell_more():
    one = [spikes(-5, seed) for seed in range(4)]
    quiet = one[0][1]
    together = focal_lead(np.stack([x for x, _ in one]), RATE_HZ, quiet)
    apart = [focal_lead(x, RATE_HZ, quiet).log_posterior[0] for x, _ in one]
    assert together.log_posterior.argmax() == 0
    assert together.log_posterior[0] > np.mean(apart)


def test_gradients_are_those_of_finite_differences():
    """With conduction, and with drift: six seconds hold three parts."""
    x, quiet = spikes(-5, gains=(1.0, 0.8, 0.7, 0.9, 0.9, 0.8))
    x, quiet = torch.from_numpy(x[:3, :960])[None, None], torch.from_numpy(quiet[None, :, :3])
    mask = torch.ones(1, 3, dtype=torch.bool)
    x.requires_grad_()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()

    def values(x):
        reading = read(x, RATE_HZ, quiet, mask, 0.3)
        return torch.cat([reading.log_first[0, :, 0], reading.evidence[0], reading.log_share[0]])

    found = values(x)
    assert len(found) == 3 * 6
    gradients = [torch.autograd.grad(one, x, retain_graph=True)[0] for one in found]
    along = [(gradient * direction).sum().item() for gradient in gradients]
    h = 1e-5
    with torch.no_grad():
        differences = (values(x + h * direction) - values(x - h * direction)) / (2 * h)
    np.testing.assert_allclose(along, differences.numpy(), rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "quiet", "message"),
    [
        (np.zeros(100), None, r"expected \[C, T\] or \[N, C, T\]"),
        (np.zeros((1, 1600)), None, "has 1 channel; expected at least 2"),
        (np.full((2, 1600), np.nan), None, "no finite numbers"),
        (np.zeros((2, 1600)), np.zeros((3, 1600)), r"expected \[M, C, T\]"),
        (np.zeros((2, 1600)), np.zeros((4, 3, 1600)), "background has 3 channels and x has 2"),
        (np.ones((2, 1600)), None, "fewer than two channels vary"),
        (np.ones((2, 80)), None, "tau_max is 0.75 s"),
    ],
)
def test_what_cannot_be_read_is_said(x, quiet, message):
    with pytest.raises(ValueError, match=message):
        focal_lead(x, RATE_HZ, quiet)


def test_a_rate_too_low_for_the_band_is_said():
    with pytest.raises(ValueError, match="take a longer window, or a higher rate"):
        focal_lead(np.random.default_rng(0).standard_normal((2, 100)), 2.0)
