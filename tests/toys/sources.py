"""One source in several channels, each with a delay of its own."""

import numpy as np


def delayed(rng, delays, n_samples, noise, colour=0.0):
    """One Gaussian source of an AR(1) spectrum in channels, later by `delays` samples, in white noise."""
    size = n_samples + 512
    frequency = np.fft.rfftfreq(size)
    gain = np.sqrt(1 - colour**2) / (1 - colour * np.exp(-2j * np.pi * frequency))
    source = np.fft.rfft(rng.standard_normal(size)) * gain
    turns = np.exp(-2j * np.pi * frequency * np.asarray(delays)[:, None])
    x = np.fft.irfft(source * turns, size)[:, 256 : 256 + n_samples]
    return x + noise * rng.standard_normal(x.shape)
