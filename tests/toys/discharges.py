"""Discharges planted in pink noise on the double banana."""

import numpy as np

from cldtrans.data.montages.montage import DOUBLE_BANANA

CHANNELS = tuple(DOUBLE_BANANA)
RATE_HZ, N_SAMPLES = 160.0, 1600


def background(n, seed=0, channels=18):
    """Pink noise, unit variance, band-limited to 0.5-40 Hz as the shards are."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((n, channels, N_SAMPLES)))
    frequency = np.fft.rfftfreq(N_SAMPLES, 1 / RATE_HZ)
    shape = np.where((frequency >= 0.5) & (frequency <= 40), 1 / np.sqrt(np.maximum(frequency, 0.5)), 0)
    x = np.fft.irfft(spectrum * shape, N_SAMPLES)
    return (x / x.std(axis=-1, keepdims=True)).astype(np.float32)
