"""What a fit takes: arrays, tensors, and the recordings and epochs of mne, as windows with rate and names.

mne's objects are known by what they offer: nothing here imports mne, and arrays never wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cldtrans.errors import DataError, listing

DATA = ("eeg", "seeg", "ecog", "dbs", "csd", "mag", "grad", "hbo", "hbr")
"""mne's types that are fitted where there are any; else those of `BODY`."""
BODY = ("ecg", "emg", "bio")
VOLTS = {"eeg": 1e6, "seeg": 1e6, "ecog": 1e6, "dbs": 1e6, "emg": 1e6, "bio": 1e6, "ecg": 1e3}
"""Factors from volts to microvolts; of an ECG, millivolts."""
WINDOW_S = 10.0
"""Windows into which a recording is cut that has bad stretches, or pieces taken out."""
LEAST_FILLED = 0.75
"""Part of the spectrum that the pass band must fill where the likelihood is one of samples."""
FILLED = 0.9
_LAPLACIAN = 2  # `info["custom_ref_applied"]`, as FIFF numbers it


@dataclass(frozen=True)
class Input:
    """Windows, and what is known of them.

    Attributes
    ----------
    x : array or tensor [N, C, T]
        As given; of mne's objects microvolts, millivolts where all channels are an ECG.
    sample_rate : float
        Hertz.
    channels : list of str or None
        Names; None where none are known.
    reference : str or None
        "bipolar", "laplacian", "common": what an mne object says its electrodes are measured against.
    notes : list of str
        What of an mne object is not in x, and what its `info` has against a fit.
    """

    x: Any
    sample_rate: float
    channels: list[str] | None = None
    reference: str | None = None
    notes: list[str] = field(default_factory=list)


def is_mne(x: Any) -> bool:
    """Tell whether x is a recording or epochs of mne."""
    return hasattr(x, "info") and hasattr(x, "get_data") and hasattr(x, "ch_names")


def read_input(
    x: Any, sample_rate: float | None = None, channels: Sequence[str] | None = None, name: str = "x"
) -> Input:
    """Take windows with their rate and names.

    Parameters
    ----------
    x : array or tensor [N, C, T], mne.io.BaseRaw, or mne.BaseEpochs
        Of mne's objects the data channels (else ECG, EMG) that are not marked bad. A recording is one window;
        one with bad stretches or boundaries is cut into windows of 10 s that none of them touches.
    sample_rate : float, optional
        Hertz; mne's objects know it.
    channels : sequence of C str, optional
        Names; mne's objects know them.
    name : str
        What messages call x.

    Raises
    ------
    DataError
        An array without a sampling rate, an mne object with another one than was said, or without any data
        channel.
    """
    if not is_mne(x):
        if sample_rate is None:
            raise DataError(f"{name} is an array, which has no sampling rate: give sample_rate, in hertz")
        return Input(x, float(sample_rate), None if channels is None else list(channels))
    rate = float(x.info["sfreq"])
    if sample_rate is not None and abs(sample_rate - rate) > 1e-6 * rate:
        raise DataError(
            f"{name} was recorded at {rate:g} Hz, sample_rate is {sample_rate:g} Hz: leave it out or resample"
        )
    picks, notes = _picked(x, name)
    names = [x.ch_names[i] for i in picks]
    if channels is not None and list(channels) != names:
        raise DataError(f"{name} names its channels itself ({listing(names)}); use pick() to choose some")
    types = x.get_channel_types()
    ecg = {types[i] for i in picks} == {"ecg"}
    gain = [1e3 if ecg else VOLTS.get(types[i], 1.0) for i in picks]
    data = _windows(x, picks, notes, name)
    for row, factor in enumerate(gain):
        data[:, row] *= factor
    kinds = {types[i] for i in picks}
    reference = _reference(x.info, names, kinds)
    if reference == "common":
        notes.append(
            "the electrodes share a reference, which looks like lags of zero between all of them: fit "
            "bipolar or Laplacian channels (mne.set_bipolar_reference, "
            "mne.preprocessing.compute_current_source_density)"
        )
    low_pass = float(x.info.get("lowpass") or rate / 2)
    if low_pass < LEAST_FILLED * rate / 2:
        notes.append(
            f"low-passed at {low_pass:g} Hz and sampled at {rate:g} Hz, whose upper part holds nothing: "
            f"resample to about {2 * low_pass / FILLED:.0f} Hz"
        )
    return Input(data, rate, names, reference, notes)


def _picked(x: Any, name: str) -> tuple[list[int], list[str]]:
    """Positions of the channels that are fitted, and what is said of the others."""
    types, bad = x.get_channel_types(), set(x.info["bads"])
    for family in (DATA, BODY):
        picks = [i for i, kind in enumerate(types) if kind in family and x.ch_names[i] not in bad]
        if picks:
            break
    else:
        raise DataError(f"{name} has no data channel; found {listing([*x.ch_names])}")
    others = [n for i, n in enumerate(x.ch_names) if i not in picks and n not in bad]
    notes = [f"marked as bad, and left out: {listing(sorted(bad))}"] if bad else []
    if others:
        notes.append(f"no {', '.join(sorted({types[i] for i in picks}))}, and left out: {listing(others)}")
    return picks, notes


def _windows(x: Any, picks: list[int], notes: list[str], name: str) -> Any:
    """Return the samples of an mne object, array [N, C, T] of float64."""
    if hasattr(x, "drop_bad"):  # epochs
        data = x.get_data(picks=picks, copy=True)
        if not len(data):
            raise DataError(f"{name} holds no epochs")
        return data
    described = [str(text).lower() for text in x.annotations.description]
    apart = [text for text in described if text.startswith(("bad", "edge")) or "boundary" in text]
    if not apart:
        return x.get_data(picks=picks)[None]
    import mne

    marked, cuts = x.copy(), ["boundary" in text for text in described]
    for k in np.flatnonzero(cuts):  # a moment, of which mne's epochs would take no notice
        marked.annotations.description[k] = "bad cut"
        marked.annotations.duration[k] = max(marked.annotations.duration[k], 1 / x.info["sfreq"])
    epochs = mne.make_fixed_length_epochs(marked, WINDOW_S, preload=True, verbose="ERROR")
    data = epochs.get_data(picks=picks, copy=True)
    if not len(data):
        raise DataError(
            f"{name} has no {WINDOW_S:g} s without a bad stretch or boundary; cut epochs yourself"
        )
    notes.append(f"cut into {len(data)} windows of {WINDOW_S:g} s, which no bad stretch or boundary touches")
    return data


def _reference(info: Any, names: Sequence[str], kinds: set[str]) -> str | None:
    """Tell what electrodes are measured against; None where there are none."""
    applied = int(info.get("custom_ref_applied") or 0)
    if applied == _LAPLACIAN or "csd" in kinds:
        return "laplacian"
    if not kinds & {"eeg", "seeg", "ecog", "dbs"}:
        return None
    return "bipolar" if all("-" in name.strip("-") for name in names) else "common"
