"""Lags over time: a lag that changes is followed and flagged, one that stays is not."""

import json

import numpy as np
import pandas as pd
import pytest

from cldtrans.cli import main
from cldtrans.data.miniature.edf_writer import EdfSignal, write_edf
from cldtrans.data.recording import from_array
from cldtrans.errors import DataError
from cldtrans.lag.recording import cut_window, lags_of_recording
from cldtrans.lag.recording.over_time import over_time

RATE, SECONDS, NAMES = 90, 60, ["a", "b", "c"]
BAND_HZ = (0.5, 44.0)
"""Nearly all of the spectrum: what a filter takes away shifts lags, as `SYSTEMATIC` says."""


def delayed(x: np.ndarray, lag: float) -> np.ndarray:
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(len(x)) * lag)
    return np.fft.irfft(np.fft.rfft(x) * turn, len(x))


def recording(before: float, after: float, seed: int = 0):
    """Laplace noise; b follows a by `before` samples, and by `after` from the middle on; c follows b by 6."""
    rng = np.random.default_rng(seed)
    e = rng.laplace(size=(3, RATE * SECONDS))
    half = e.shape[1] // 2
    e[1] += 0.6 * np.where(np.arange(e.shape[1]) < half, delayed(e[0], before), delayed(e[0], after))
    e[2] += 0.5 * delayed(e[1], 6.0)
    return from_array(20 * e, RATE, NAMES)


@pytest.fixture(scope="module")
def changing():
    lags = lags_of_recording(recording(3.4, 4.0), band_hz=BAND_HZ, innovation="laplace")
    return lags, over_time(lags, 2.0, 10.0)


def test_a_lag_that_changes_is_followed_and_flagged_there(changing):
    _, found = changing
    edge = list(zip(found.source, found.target, strict=True)).index(("a", "b"))
    middle = found.start_s + found.length_s / 2
    tau, stderr = found.tau[:, edge] * RATE, found.tau_stderr[:, edge] * RATE
    for inside, truth in ((middle < 25, 3.4), (middle > 35, 4.0)):
        # Windows that overlap are one observation: what the filter shifts, and a few standard errors.
        assert (np.abs(tau - truth)[inside] < 0.1 + 4 * stderr[inside]).all()
        assert np.abs(np.median(tau[inside]) - truth) < 0.1
    [(window, changed)] = found.changes
    assert changed == edge and abs(found.start_s[window] - 30) <= 4
    assert "a → b changes at" in found.sentences()[0]
    table = found.to_frame()
    assert len(table) == found.tau.size and table["change"].sum() == 1


def test_windows_of_half_the_stretch_agree_with_its_fit_where_nothing_changes():
    lags = lags_of_recording(recording(3.4, 3.4), band_hz=BAND_HZ, innovation="laplace")
    found = over_time(lags, 30.0, 30.0)
    stderr = lags.table()["tau_stderr_ms"].to_numpy() / 1e3
    assert found.tau.shape == (2, 2)
    assert (np.abs(found.tau.mean(0) - lags.table()["tau_ms"] / 1e3) < 2 * stderr).all()
    np.testing.assert_allclose(np.median(found.tau_stderr, 0), np.sqrt(2) * stderr, rtol=0.3)


@pytest.mark.parametrize("seed", range(2))
def test_what_stays_is_not_flagged_even_where_the_filter_shifts_it(seed):
    lags = lags_of_recording(recording(3.4, 3.4, seed), band_hz=(0.5, 40.0), innovation="laplace")
    assert over_time(lags, 2.0, 10.0).changes == []


@pytest.mark.parametrize(
    ("every", "length", "message"),
    [(0.0, 10.0, "both must be positive"), (2.0, 40.0, "side by side"), (1.0, 0.5, "needs windows of")],
)
def test_windows_that_cannot_be_are_one_line(changing, every, length, message):
    with pytest.raises(DataError, match=rf"array: windows of .*{message}"):
        over_time(changing[0], every, length)


@pytest.mark.parametrize("fast", [[], ["--fast"]], ids=["fitted", "read"])
def test_the_command_writes_lags_over_time(tmp_path, capsys, fast):
    x = recording(3.4, 4.0).read(0, RATE * SECONDS)
    signals = [EdfSignal(n, row, RATE, (-1000.0, 1000.0)) for n, row in zip(NAMES, x, strict=True)]
    write_edf(tmp_path / "r.edf", signals)
    out = tmp_path / "out"
    assert main(["lags", str(tmp_path / "r.edf"), "--every", "5", "--output", str(out), *fast]) == 0
    printed = capsys.readouterr().out
    assert "Over time, windows of 10 s every 5 s:" in printed and "lags_over_time.csv" in printed
    table = pd.read_csv(out / "lags_over_time.csv")
    assert set(table["start_s"]) == set(range(0, 51, 5))
    assert {"tau_low_ms", "tau_high_ms", "change"} <= set(table.columns)
    content = json.loads((out / "summary.json").read_text())
    assert len(content["over_time"]["windows"]) == len(table)
    text = (out / "lags.html").read_text()
    assert "<h2>Over time</h2>" in text and text.count("data:image/png") == 5
    assert (out / "over_time.png").read_bytes().startswith(b"\x89PNG")


def test_a_graph_at_a_time_has_that_times_lags(changing):
    lags, found = changing
    table = found.at(0, lags).table
    row = table[(table["source"] == "a") & (table["target"] == "b")].iloc[0]
    assert row["tau_ms"] * RATE / 1e3 == pytest.approx(3.4, abs=0.3)
    assert cut_window(recording(3.4, 4.0)).channels == NAMES
