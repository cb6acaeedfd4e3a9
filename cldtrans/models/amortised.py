"""Lags of one stretch of signals by a pretrained network, at once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cldtrans.data.montages.spelling import cleaned
from cldtrans.errors import DataError
from cldtrans.lag.amortised import AmortisedLags
from cldtrans.lag.fit import diagnostics
from cldtrans.lag.fit.prepare import as_windows, prepare
from cldtrans.lag.recording.window import Window, begin_with
from cldtrans.models.cldtrans import CLDTrans
from cldtrans.models.modality import RATE_HZ

STANDARD = "standard"
"""The model that the package brings."""
LIKELIER = 0.5
"""Probability from which a pair counts as an edge."""
FEWEST = 320
"""Samples; the network learned on 1600."""


def amortised_lags(
    x: Any,
    sample_rate: float,
    tau_max: float,
    *,
    checkpoint: str | Path = STANDARD,
    channels: list[str] | None = None,
) -> AmortisedLags:
    """Read lags and edges of one stretch, in about a second for 64 channels of a minute.

    The network's evidence is that of lagged covariances, whose cost hardly grows with the stretch: it is read
    as one window. It knows EEG of a band that fills the spectrum, at 160 samples a second: whatever the rate,
    samples are read as if they were such, and lags are scaled back.

    Parameters
    ----------
    x : array [C, T]
        Signals, torch or numpy, in any unit.
    sample_rate : float
        Hertz.
    tau_max : float
        Largest lag of an edge, seconds; at most what the network sees, 48 samples.
    checkpoint : str or Path
        As `CLDTrans.from_pretrained` takes it.
    channels : list of str, optional
        C names.

    Returns
    -------
    AmortisedLags
        Edges that are likelier than not.

    Raises
    ------
    DataError
        Where x cannot be read; one line says why and what to do.
    """
    if np.ndim(x) != 2:
        raise DataError(f"x has shape {tuple(np.shape(x))}; expected [channels, samples]")
    windows = as_windows(x[None])
    if not (sample_rate > 0 and tau_max > 0):
        raise DataError(f"sample_rate is {sample_rate} Hz and tau_max {tau_max} s; both must be positive")
    if windows.shape[2] < FEWEST:
        raise DataError(
            f"{windows.shape[2]} samples ({windows.shape[2] / sample_rate:g} s) are too few for the "
            f"pretrained model; use {FEWEST / sample_rate:.3g} s or more"
        )
    prepared = prepare(windows, periodic=False)
    kept, n_channels = prepared.kept, windows.shape[1]
    if len(kept) < 2:
        raise DataError("no two channels vary by themselves: there is nothing to read")
    model = _loaded(str(checkpoint))
    rate = RATE_HZ["eeg"]
    with torch.inference_mode():
        found = model.lags(torch.from_numpy(prepared.x).float(), rate, modality="eeg")

    def pairs(values: torch.Tensor, factor: float | np.ndarray = 1.0) -> np.ndarray:
        full = np.zeros((n_channels, n_channels))
        full[np.ix_(kept, kept)] = values[0].double().numpy() * factor
        return full

    seen = model.config.tau_max_s["eeg"] * rate / sample_rate
    probability = pairs(found.edge_probability)
    tau, stderr = pairs(found.tau, rate / sample_rate), pairs(found.tau_stderr, rate / sample_rate)
    likely = probability > LIKELIER
    support = likely & (tau <= tau_max)
    names = np.array(range(n_channels) if channels is None else channels, dtype=object)
    warnings = diagnostics.preparation(prepared, names)
    if (beyond := int((likely & ~support).sum())) > 0:
        warnings.append(f"{beyond} likely edges have lags beyond {1e3 * tau_max:g} ms, and were left out")
    if tau_max > seen:
        warnings.append(
            f"the pretrained model sees lags up to {1e3 * seen:.4g} ms at {sample_rate:.4g} Hz, not up to "
            f"{1e3 * tau_max:g} ms"
        )
    unit = prepared.scale[:, None] / prepared.scale
    return AmortisedLags(
        tau=np.where(support, tau, np.nan),
        tau_stderr=np.where(support, stderr, np.nan),
        weight=np.where(support, pairs(found.weight, unit), 0.0),
        support=support,
        probability=probability,
        sample_rate=float(sample_rate),
        tau_max=min(float(tau_max), seen),
        model=str(checkpoint),
        left_out=sorted(prepared.constant + [channel for channel, _ in prepared.dependent]),
        warnings=warnings,
        channels=channels,
    )


def read_window(window: Window, tau_max_s: float, checkpoint: str | Path = STANDARD) -> AmortisedLags:
    """Read a window of a recording.

    Parameters
    ----------
    window : Window
        From `cut_window`.
    tau_max_s : float
        Largest lag of an edge, seconds.
    checkpoint : str or Path
        As in `amortised_lags`.

    Raises
    ------
    DataError
        One line that begins with the file.
    """
    names = [cleaned(name) for name in window.channels]
    try:
        return amortised_lags(window.x, window.rate_hz, tau_max_s, checkpoint=checkpoint, channels=names)
    except DataError as error:
        raise DataError(begin_with(window.origin, error)) from error


@cache
def _loaded(checkpoint: str) -> CLDTrans:
    """Return a pretrained network; it is read once."""
    return CLDTrans.from_pretrained(checkpoint).eval()
