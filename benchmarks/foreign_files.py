"""Small files as EEGLAB and BrainVision Recorder write them, in microvolts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_set(
    path: Path, x: np.ndarray, names: Sequence[str], rate_hz: float, changes: Mapping[str, Any] | None = None
) -> None:
    """Write an EEGLAB file that holds its data; `changes` replace fields of its structure."""
    from scipy.io import savemat

    places = [{"labels": name, "type": "EMG" if name.startswith("EMG") else "EEG"} for name in names]
    eeg = {"setname": path.stem, "nbchan": float(len(x)), "trials": 1.0, "pnts": float(x.shape[1])}
    eeg |= {"srate": rate_hz, "xmin": 0.0, "xmax": (x.shape[1] - 1) / rate_hz, "data": x.astype(np.float32)}
    eeg |= {"chanlocs": places, "event": [], "icawinv": [], "icaweights": [], **(changes or {})}
    savemat(path, {"EEG": eeg})


def write_vhdr(path: Path, x: np.ndarray, names: Sequence[str], rate_hz: float) -> None:
    """Write a header, and the markers and samples that it names."""
    x.T.astype("<f4").tofile(path.with_suffix(".eeg"))
    channels = "\n".join(f"Ch{k}={name},,1,µV" for k, name in enumerate(names, 1))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\nDataFormat=BINARY\n"
        f"DataOrientation=MULTIPLEXED\nNumberOfChannels={len(x)}\nSamplingInterval={1e6 / rate_hz:g}\n\n"
        f"[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n\n[Channel Infos]\n{channels}\n"
    )
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\n\n[Marker Infos]\nMk1=New Segment,,1,1,0,20200101000000000000\n"
    )
