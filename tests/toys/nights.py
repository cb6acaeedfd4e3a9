"""Nights of sleep from memory: shards whose index says which epoch belongs to which recording."""

import numpy as np
import pandas as pd

from cldtrans.methods.windows import LabelledWindows

STAGES = ("W", "N1", "N2", "N3", "R")


class Nights:
    """What classifiers read of a shard set: consecutive epochs of each recording.

    Parameters
    ----------
    lengths : sequence of int
        Epochs of each recording.
    n_samples : int
        Of an epoch.
    rate_hz : float
        Hertz.
    channels : tuple of str
        Names.
    """

    modality = "eeg"

    def __init__(self, lengths, n_samples, rate_hz=100.0, channels=("EEG Fpz-Cz",), seed=0):
        rng = np.random.default_rng(seed)
        n = sum(lengths)
        self.rate_hz, self.channels = rate_hz, channels
        recording = np.repeat([f"r{k}" for k in range(len(lengths))], lengths)
        start_s = np.concatenate([np.arange(length) * n_samples / rate_hz for length in lengths])
        self.index = pd.DataFrame({"recording": recording, "subject": recording, "start_s": start_s})
        self.x = rng.standard_normal((n, len(channels), n_samples)).astype(np.float32)
        self.y = rng.integers(0, len(STAGES), n)

    def windows(self, rows):
        return self.x[rows]

    def scales(self, rows):
        return np.ones((len(rows), len(self.channels)), dtype=np.float32)

    def mask(self, rows):
        return np.ones((len(rows), len(self.channels)), dtype=bool)

    def labels(self, rows):
        return self.y[rows]

    def all(self):
        return LabelledWindows(self, np.arange(len(self.y)))
