"""Lags are those of the signals, whatever their names, scale and order in a file, and whenever they begin."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from toys.recordings import RATE, discontinuous, segment

from cldtrans.data.miniature.edf_writer import EdfSignal, edf_bytes
from cldtrans.data.montages.spelling import cleaned
from cldtrans.data.recording import from_array
from cldtrans.lag import simulate_ldsem
from cldtrans.lag.recording import lags_of_recording

STEP = 0.01  # of the recording and of the files, microvolts
DURATION_S, BEGIN_S, PAUSE_AT_S = 36, 14.0, 2  # the filter sees the 12 s before the window
NAMES = ["C3", "P4", "Fz", "T8", "EEG O1-REF", "POL A1", "V2", "left", "7", "Resp µ"]
UNITS = ["nV", "uV", "mV"]
Lags = dict[tuple[int, int], float]


@pytest.fixture(scope="module")
def digital() -> np.ndarray:
    """Four channels [4, T] in steps, each with one source."""
    sample = simulate_ldsem(
        4,
        DURATION_S,
        RATE / 2,
        window_s=DURATION_S,
        edges_per_node=1.0,
        lag_range_s=(0.02, 0.08),
        self_dynamics="ar2",
        seed=1,
    )
    x = np.asarray(sample.x)[0]
    return np.rint(20 / STEP * signal.resample(x, 2 * x.shape[1], axis=1) / x.std())


@pytest.fixture(scope="module")
def expected(digital: np.ndarray) -> Lags:
    """Of the array in memory."""
    found = lags_ms(from_array(STEP * digital, RATE, NAMES[:4]), NAMES[:4], BEGIN_S)
    assert len(found) == 4
    return found


def lags_ms(source: Any, names: list[str], begin_s: float) -> Lags:
    """Lag by positions (target, source) in `names` of every edge of the stretch from `begin_s` on."""
    lags = lags_of_recording(source, start_s=begin_s, channels=names, reference="none", innovation="laplace")
    place = [[cleaned(name) for name in names].index(name) for name in lags.channels]
    return {(place[i], place[j]): 1e3 * lags.fit.tau[i, j] for i, j in np.argwhere(lags.fit.support)}


def write(
    folder: Path,
    kind: str,
    digital: np.ndarray,
    names: list[str],
    units: list[str],
    pause_s: int,
    coarse: int,
) -> Path:
    """Write numbers in steps of `coarse * STEP` of each channel's unit, with a pause near the start."""
    path = folder / f"recording.{kind.lower()}"
    step, x = coarse * STEP, STEP * digital
    if kind == "WFDB":
        before = PAUSE_AT_S * int(RATE)
        for name, part in (("before", x[:, :before]), ("after", x[:, before:])):
            segment(folder, name, part, units, 1 / step, names, RATE)
        lengths = [before, pause_s * int(RATE), x.shape[1] - before]
        lines = [f"{name} {length}" for name, length in zip(["before", "~", "after"], lengths, strict=True)]
        head = f"recording/3 {len(x)} {RATE:g} {sum(lengths)}"
        (folder / "recording.hea").write_text("\n".join([head, *lines]) + "\n")
        return folder / "recording.hea"
    rows = zip(names, x, units, strict=True)
    limits = (-32768 * step, 32767 * step)
    whole = edf_bytes([EdfSignal(name, row, RATE, limits, unit=unit) for name, row, unit in rows])
    starts_s = [float(k + (pause_s if k >= PAUSE_AT_S else 0)) for k in range(DURATION_S)]
    path.write_bytes(discontinuous(whole, starts_s, kind) if pause_s or kind == "BDF" else whole)
    return path


@pytest.mark.slow
@settings(max_examples=9)
@given(
    kind=st.sampled_from(["EDF", "BDF", "WFDB"]),
    order=st.permutations(range(4)),
    names=st.lists(st.sampled_from(NAMES), min_size=4, max_size=4, unique=True),
    units=st.lists(st.sampled_from(UNITS), min_size=4, max_size=4),
    pause_s=st.sampled_from([0, 1, 600]),
    coarse=st.sampled_from([1, 1, 10]),
)
def test_lags_do_not_change(
    digital: np.ndarray, expected: Lags, kind: str, order: list[int], names: list[str], units: list[str],
    pause_s: int, coarse: int,
) -> None:  # fmt: skip
    """A unit that is another one scales the channel: the numbers in the file are the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), kind, digital[order], names, units, pause_s, coarse)
        found = lags_ms(path, names, BEGIN_S + pause_s)
    in_order = {(order[i], order[j]): lag for (i, j), lag in found.items()}
    assert in_order.keys() == expected.keys()
    tolerance_ms = 2e-3 if coarse == 1 else 0.05  # rounding of another unit's float32, or to 0.1 microvolts
    for edge, lag in in_order.items():
        assert lag == pytest.approx(expected[edge], abs=tolerance_ms)
