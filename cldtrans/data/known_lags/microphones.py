"""A line of microphones that one loudspeaker reaches: speech through measured impulse responses.

Source: impulse responses of a uniform linear array of 32 microphones, 3 cm apart, from six of nine places of
a loudspeaker, with a dry utterance (repository polimi-ispl/rs-mnmf, GPL-3). Delays follow from the places and
the speed of sound; no microphone hears another. Odd and even channels of the recorder differ by one sample of
48 kHz, so that scored pairs are two microphones apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from cldtrans.data.known_lags.sets import KnownReader, KnownSystem, Truth
from cldtrans.errors import DataError

SPEED_OF_SOUND = 343.0  # metres a second, at 20 degrees
SPACING_M = 0.03
RECORDED_HZ, RATE_HZ = 48000, 8000
START_S, DURATION_S = 1.0, 2.0
ECHO_S = 0.1  # longer than the responses
TAU_MAX_S = 0.003  # over the whole line
DIRECT_S, BEFORE_S = 0.0015, 0.0005  # of an impulse response: its first sound, and what comes before it
DIRECT_HZ = (100.0, 3600.0)
FEW = tuple(range(8, 16))


class Microphones(KnownReader):
    """Six places of the loudspeaker, a system each."""

    title = "microphones"
    truth: ClassVar[Truth] = "hidden source"
    folder = "acoustic_ula32"
    files = ("rir_first4096.npz", "source_location.mat", "male_1.wav")
    notes = (
        "places are the authors' estimates, and where in a loudspeaker sound begins is not known: arrivals "
        "measured in the impulse responses stand beside them",
    )

    def systems(self, folder: Path) -> list[KnownSystem]:
        """Read the six places."""
        from scipy.io import loadmat, wavfile
        from scipy.signal import fftconvolve, resample_poly

        responses = np.load(folder / self.files[0], allow_pickle=False)["rir"].astype(float)
        places = loadmat(folder / self.files[1])["sourceLocation"].astype(float)
        rate_hz, dry = wavfile.read(folder / self.files[2])
        n_sources, n_channels, _ = responses.shape
        if len(places) < n_sources or dry.ndim != 1 or RECORDED_HZ % rate_hz:
            raise DataError(
                f"{folder}: expected a place for each of {n_sources} sources and one channel of speech at a "
                f"part of {RECORDED_HZ} Hz; found {len(places)} places, {dry.ndim} channels, {rate_hz} Hz"
            )
        # What is said later is not heard, and what was said earlier no more.
        begin = round((START_S - ECHO_S) * rate_hz)
        dry = dry[begin : round((START_S + DURATION_S + TAU_MAX_S) * rate_hz)]
        dry = resample_poly(dry.astype(float), RECORDED_HZ // rate_hz, 1)
        microphones = np.stack([np.zeros(n_channels), SPACING_M * np.arange(n_channels)], 1)
        first = round(ECHO_S * RATE_HZ)
        systems = []
        for source, response in enumerate(responses):
            heard = fftconvolve(dry[None], response, axes=1)
            heard = resample_poly(heard, 1, RECORDED_HZ // RATE_HZ, axis=1)
            delay = np.linalg.norm(microphones - places[source], axis=1) / SPEED_OF_SOUND
            systems.append(
                KnownSystem(
                    name=f"place {source + 1}",
                    x=heard[None, :, first : first + round(DURATION_S * RATE_HZ)],
                    sample_rate=RATE_HZ,
                    tau_max_s=TAU_MAX_S,
                    channels=tuple(f"m{k + 1}" for k in range(n_channels)),
                    tau=delay[:, None] - delay,
                    arrival=direct_sound(response),
                    few=FEW,
                )
            )
        return systems


def direct_sound(response: np.ndarray) -> np.ndarray:
    """Measure by how much the first sound of impulse responses [C, T] is later in the row: [C, C].

    The first 1.5 ms after each onset, before the room answers; the delay of the largest correlation, of pairs
    two channels apart alone.
    """
    n_channels, n_samples = response.shape
    onset = (np.abs(response) > 0.5 * np.abs(response).max(1, keepdims=True)).argmax(1)
    before, after = round(BEFORE_S * RECORDED_HZ), round(DIRECT_S * RECORDED_HZ)
    time = np.arange(n_samples) - onset[:, None]
    window = np.clip((after + before - time) / before, 0, 1) * (time >= -before)
    spectrum = np.fft.rfft(response * window, 2 * n_samples)
    frequency = np.fft.rfftfreq(2 * n_samples, 1 / RECORDED_HZ)
    inside = (frequency > DIRECT_HZ[0]) & (frequency < DIRECT_HZ[1])
    grid = np.linspace(-1e-3, 1e-3, 2001)
    turn = np.exp(2j * np.pi * np.outer(grid, frequency[inside]))
    found = np.full((n_channels, n_channels), np.nan)
    for k in range(n_channels - 2):
        cross = (spectrum[k + 2] * spectrum[k].conj())[inside]
        curve = (turn @ cross).real
        at = int(np.clip(curve.argmax(), 1, len(grid) - 2))
        bend = curve[at - 1] - 2 * curve[at] + curve[at + 1]
        found[k + 2, k] = grid[at] + 0.5 * (curve[at - 1] - curve[at + 1]) / bend * (grid[1] - grid[0])
        found[k, k + 2] = -found[k + 2, k]
    return found
