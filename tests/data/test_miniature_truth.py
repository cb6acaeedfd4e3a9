"""What the miniature plants is there, and there is no short cut to it."""

import itertools

import numpy as np

from cldtrans.data.miniature import (
    SCALES,
    ecg,
    ptbxl,
    sleep,
)
from cldtrans.data.miniature.eeg import Brain
from cldtrans.data.miniature.head import BANANA, TEN_TWENTY, incidence, neighbours
from cldtrans.data.miniature.seizure import SNR_DB, discharge, plan_seizure, plant
from cldtrans.data.miniature.truth import generator


def test_neighbours_are_mutual_and_connected():
    table = neighbours()
    assert all(i in table[j] for i, row in enumerate(table) for j in row)
    reached: set[int] = set()
    queue = [0]
    while queue:
        reached.add(here := queue.pop())
        queue += set(table[here]) - reached
    assert reached == set(range(len(BANANA)))


def test_planted_lags_are_in_the_discharge():
    rate_hz = 256
    for seed in range(4):
        rng = np.random.default_rng(seed)
        seizure = plan_seizure(rng, lead=seed * 4, onset_s=4, end_s=30)
        assert seizure.delay_s[seizure.lead] == 0 and (seizure.snr_db <= SNR_DB[1]).all() and SNR_DB[1] <= 5
        hops = seizure.delay_s - seizure.delay_s[seizure.parent]
        hops = np.delete(hops, seizure.lead)
        assert (hops >= 0.020).all() and (hops <= 0.120).all()
        clean, _ = discharge(rng, seizure, 36 * rate_hz, rate_hz)
        n = 2 * clean.shape[1]
        spectrum = np.fft.rfft(clean, n)
        correlation = np.fft.irfft(spectrum * spectrum[seizure.lead].conj(), 8 * n)[:, : 8 * rate_hz]
        found = correlation.argmax(axis=1) / (8 * rate_hz)
        np.testing.assert_allclose(found, seizure.delay_s, atol=0.6 / rate_hz)
        excess = (clean**4).mean(axis=1) / (clean**2).mean(axis=1) ** 2 - 3
        assert (excess > 0.5).all()  # heavier tails than a Gaussian's


def filtered(x: np.ndarray, sample_rate: float) -> np.ndarray:
    spectrum = np.fft.rfft(x)
    frequency = np.fft.rfftfreq(x.shape[1], 1 / sample_rate)
    spectrum[:, (frequency < 0.5) | (frequency > 40)] = 0
    return np.fft.irfft(spectrum, x.shape[1])


def phase_transform_lead(windows: np.ndarray, sample_rate: float) -> int:
    """The channel that the others follow on average, by generalised cross-correlation."""
    score = np.zeros(windows.shape[1])
    half = int(0.4 * sample_rate)
    for x in windows:
        n = 2 * x.shape[1]
        spectrum = np.fft.rfft(x * np.hanning(x.shape[1]), n)
        frequency = np.fft.rfftfreq(n, 1 / sample_rate)
        phase = spectrum / np.abs(spectrum) * ((frequency > 1) & (frequency < 40))
        for i in range(len(x)):
            r = np.fft.irfft(phase * phase[i].conj(), n)
            r = np.concatenate([r[:, -half:], r[:, : half + 1]], axis=1)
            weight = np.maximum(r.max(axis=1) / r.std(axis=1) - 4, 0)
            weight[i] = 0
            score[i] += ((r.argmax(axis=1) - half) * weight).sum() / max(weight.sum(), 1e-9)
    return int(score.argmax())


def test_leading_channel_is_in_the_lags_and_not_in_the_energy():
    rate_hz, seconds, patients = 128, 60, 72
    electrodes = TEN_TWENTY
    bipolar = incidence(BANANA, electrodes)
    hits = dict.fromkeys(("variance", "relative", "line length", "3-5 Hz", "relative 3-5 Hz", "lags"), 0)
    separable = []
    for k in range(patients):
        rng = np.random.default_rng([7, k])
        lead, onset = k % len(BANANA), int(rng.integers(8, 24))
        potential = Brain(electrodes, rng).background(rng, seconds * rate_hz, rate_hz)
        plant(rng, potential, electrodes, rate_hz, plan_seizure(rng, lead, onset, onset + 30))
        x = filtered(bipolar @ potential, rate_hz)
        ictal = np.zeros(seconds * rate_hz, bool)
        ictal[onset * rate_hz : (onset + 30) * rate_hz] = True

        def slow(part):
            power = np.abs(np.fft.rfft(part)) ** 2 / part.shape[1] ** 2
            frequency = np.fft.rfftfreq(part.shape[1], 1 / rate_hz)
            return power[:, (frequency > 2.8) & (frequency < 5.2)].sum(axis=1)

        scores = {
            "variance": x[:, ictal].var(axis=1),
            "relative": x[:, ictal].var(axis=1) / x[:, ~ictal].var(axis=1),
            "line length": np.abs(np.diff(x[:, ictal])).mean(axis=1),
            "3-5 Hz": slow(x[:, ictal]),
            "relative 3-5 Hz": slow(x[:, ictal]) / slow(x[:, ~ictal]),
        }
        for name, score in scores.items():
            hits[name] += score.argmax() == lead
        if k < 24:
            windows = x[:, ictal].reshape(len(x), 3, -1).transpose(1, 0, 2)
            hits["lags"] += phase_transform_lead(windows, rate_hz) == lead
        level = np.log(x.std(axis=1, keepdims=True))
        size = 5 * rate_hz
        blocks = [
            np.mean(np.log(x[:, i : i + size].std(axis=1)) - level[:, 0]) for i in range(0, x.shape[1], size)
        ]
        share = [ictal[i : i + size].mean() for i in range(0, x.shape[1], size)]
        inside = np.array([b for b, s in zip(blocks, share, strict=True) if s == 1])
        outside = np.array([b for b, s in zip(blocks, share, strict=True) if s == 0])
        separable.append((inside[:, None] > outside).mean())
    assert hits.pop("lags") >= 9, "chance would be 1.3 of 24"
    assert max(hits.values()) <= 10, hits  # chance is 4 of 72; more than 10 happens once in 400 times
    assert 0.35 < np.mean(separable) < 0.65


def heart_rate(x: np.ndarray) -> tuple[float, list[int]]:
    """Beats a minute and the samples of the QRS complexes of leads [C, T], from the steepest slopes."""
    steep = np.convolve(np.abs(np.diff(x, axis=1)).sum(axis=0), np.ones(15), "same")
    threshold = 0.5 * np.quantile(steep, 0.99)
    peaks, i = [], 0
    while i < len(steep):
        if steep[i] > threshold:
            peaks.append(i + int(steep[i : i + 100].argmax()))
            i = peaks[-1] + 150
        else:
            i += 1
    return 60 * ecg.RATE_HZ / np.median(np.diff(peaks)), peaks


def cross_validated(features, labels, groups=None, strength=1.0):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, max_iter=1000, class_weight="balanced")
    )
    folds = GroupKFold(4) if groups is not None else StratifiedKFold(4, shuffle=True, random_state=0)
    return cross_val_predict(model, features, labels, groups=groups, cv=folds, method="predict_proba")


def test_ecg_classes_are_in_the_shape_and_not_in_amplitude_or_rate():
    from sklearn.metrics import roc_auc_score

    easy, shape = [], []
    for k in range(400):
        rng = np.random.default_rng([11, k])
        kind = ecg.CLASSES[k % 5]
        beat = ecg.diseased_beat(rng, ecg.normal_beat(rng), [str(rng.choice(ecg.CODES[kind]))])
        x = ecg.to_leads(ecg.record(rng, beat), 1000.0) / 1000.0
        rate, peaks = heart_rate(x)
        beats = [x[:, p - 150 : p + 250] for p in peaks if 150 < p < x.shape[1] - 250]
        mean = np.median(beats, axis=0)
        shape.append(((mean - mean.mean(1, keepdims=True)) / mean.std(1, keepdims=True))[:, ::10].ravel())
        easy.append(np.append(np.log(x.std(axis=1)), np.log(rate)))
    kinds = np.arange(400) % 5
    easy_score = cross_validated(np.array(easy), kinds)
    shape_score = cross_validated(np.array(shape), kinds, strength=0.003)
    assert roc_auc_score(kinds, easy_score, multi_class="ovr") < 0.6
    assert 0.75 < roc_auc_score(kinds, shape_score, multi_class="ovr") < 0.98


def test_sleep_stages_are_in_the_spectrum_and_not_in_amplitude():
    from sklearn.metrics import cohen_kappa_score

    level, spectrum, nights = [], [], []
    edges = (0.3, 1, 2, 4, 6, 8, 9.5, 11, 12.5, 14.5, 20, 35)
    frequency = np.fft.rfftfreq(300, 0.01)
    for k in range(8):
        rng = np.random.default_rng([13, k])
        night = sleep.hypnogram(rng, 60, 6)
        assert set(night) == set(range(5)) and night[0] == night[-1] == 0
        signals = sleep.night(rng, night)
        x = np.stack([signals[name] for name in ("front", "back", "eog")])
        x = x.reshape(3, len(night), 10, 300)
        power = (np.abs(np.fft.rfft(x * np.hanning(300))) ** 2).mean(axis=2)
        bands = np.stack(
            [power[..., (frequency >= a) & (frequency < b)].sum(-1) for a, b in itertools.pairwise(edges)]
        )
        relative = np.log(bands / bands.sum(axis=0))
        spectrum.append(relative.transpose(2, 0, 1).reshape(len(night), -1))
        level.append(np.log(x.std(axis=(2, 3))).T)
        nights.append(night)
    stages, subjects = np.concatenate(nights), np.repeat(np.arange(8), [len(night) for night in nights])
    by_level = cross_validated(np.concatenate(level), stages, subjects).argmax(axis=1)
    by_spectrum = cross_validated(np.concatenate(spectrum), stages, subjects, 0.1).argmax(axis=1)
    assert cohen_kappa_score(stages, by_level) < 0.25
    assert 0.5 < cohen_kappa_score(stages, by_spectrum) < 0.95


def test_demo_is_large_enough_for_intervals():
    demo = SCALES["demo"]
    leads = generator(0, "chbmit leads").permutation(len(BANANA))
    assert len({case for case in demo.chbmit_cases if case != 21}) >= 12
    assert sorted(leads) == list(range(len(BANANA)))
    folds = [ptbxl._FOLDS[(p - 1) % len(ptbxl._FOLDS)] for p in range(1, demo.ptbxl_records * 9 // 10 + 1)]
    assert folds.count(10) >= 40
