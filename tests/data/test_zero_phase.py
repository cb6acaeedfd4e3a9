"""The band-pass and new rate of whole recordings, against scipy and known signals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from cldtrans.data.zero_phase import band_pass, rate_ratio
from cldtrans.errors import DataError

EEG = (0.5, 40.0)
ECG = (0.05, 150.0)


@pytest.mark.parametrize(
    ("rate_in", "rate_out", "band", "seconds"),
    [
        (256, 160, EEG, 100),
        (512, 160, EEG, 60),
        (100, 160, EEG, 120),
        (500, 500, ECG, 400),
        (160, 160, EEG, 70),
    ],
)
def test_equals_sosfiltfilt_and_resample_poly(rate_in, rate_out, band, seconds):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, int(seconds * rate_in) + 13)).astype(np.float32)
    sos = scipy.signal.butter(4, band, "bandpass", fs=rate_in, output="sos")
    expected = scipy.signal.sosfiltfilt(sos, x.astype(float), axis=-1)
    up, down = rate_ratio(rate_in, rate_out)
    expected = scipy.signal.resample_poly(expected, up, down, axis=-1)
    y = band_pass(x, rate_in, rate_out, band)
    assert y.shape == expected.shape and y.dtype == np.float32
    edge = int((150 if band is ECG else 20) * rate_out)
    assert np.abs(y - expected)[:, edge:-edge].max() < 3e-3 * expected.std()


def test_edges_equal_an_evenly_continued_recording():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 5000)).cumsum(axis=1).astype(np.float32)
    mirrored = np.concatenate([x, x[:, ::-1]], axis=1).astype(float)
    sos = scipy.signal.butter(4, ECG, "bandpass", fs=500, output="sos")
    expected = scipy.signal.sosfiltfilt(sos, np.tile(mirrored, 31))[:, 30 * 5000 : 31 * 5000]
    assert np.abs(band_pass(x, 500, 500, ECG) - expected).max() < 1e-4 * expected.std()


def test_blocks_leave_no_seam():
    x = np.random.default_rng(2).standard_normal((2, 300_007)).cumsum(axis=1).astype(np.float32)
    whole = band_pass(x, 256, 160, EEG)
    for start in (65_000 // 8 * 8, 131_072, 200_000):
        around = band_pass(x[:, start - 20_480 : start + 20_480], 256, 160, EEG)
        middle = slice(20_480 * 5 // 8 - 1000, 20_480 * 5 // 8 + 1000)
        there = whole[:, start * 5 // 8 - 1000 : start * 5 // 8 + 1000]
        assert np.abs(around[:, middle] - there).max() < 1e-3 * whole.std()


@settings(max_examples=25)
@given(
    frequency=st.floats(2, 30),
    phase=st.floats(0, 6.28),
    rates=st.sampled_from([(256, 160), (512, 160), (100, 160), (128, 160), (160, 160), (200, 160)]),
)
def test_a_tone_in_the_band_keeps_its_time(frequency, phase, rates):
    rate_in, rate_out = rates
    t_in, t_out = np.arange(60 * rate_in) / rate_in, np.arange(60 * rate_out) / rate_out
    x = np.cos(2 * np.pi * frequency * t_in + phase).astype(np.float32)[None]
    y = band_pass(x, rate_in, rate_out, EEG)[0]
    inner = slice(20 * rate_out, 40 * rate_out)
    gain = scipy.signal.sosfreqz(
        scipy.signal.butter(4, EEG, "bandpass", fs=rate_in, output="sos"), worN=[frequency], fs=rate_in
    )[1]
    expected = np.abs(gain[0]) ** 2 * np.cos(2 * np.pi * frequency * t_out + phase)
    assert np.abs(y - expected)[inner].max() < 5e-3


@pytest.mark.parametrize("frequency", [100.0, 120.0, 155.0])
def test_nothing_folds_back(frequency):
    """A tone above the new Nyquist frequency of 80 Hz would appear below it without the filter."""
    x = np.cos(2 * np.pi * frequency * np.arange(512 * 40) / 512).astype(np.float32)[None]
    assert np.abs(band_pass(x, 512, 160, EEG)[0, 1600:4800]).max() < 1e-4


def test_constant_offset_and_drift_go():
    x = (5000 + 3 * np.arange(256 * 120) / 256).astype(np.float32)[None]
    assert np.abs(band_pass(x, 256, 160, EEG)[0, 4000:-4000]).max() < 0.05


def test_too_low_a_rate_is_refused():
    with pytest.raises(DataError, match="250 Hz is too low for the pass band"):
        band_pass(np.zeros((1, 1000), np.float32), 250, 500, ECG)
    with pytest.raises(DataError, match="cannot be resampled"):
        rate_ratio(256.123, 160)
