"""Windows and whole batches, against scipy and known signals."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.paths import MIRROR
from toys.preprocess import OK, Synthetic, build, settings_of

from cldtrans.data import get_dataset
from cldtrans.data.base import Signal
from cldtrans.data.preprocess import onset_starts, pack_mask, preprocess_batch, window_starts
from cldtrans.data.quality import fill_gaps
from cldtrans.data.zero_phase import band_pass
from cldtrans.errors import DataError


@settings(max_examples=200)
@given(
    n=st.integers(0, 20_000),
    rate=st.sampled_from([100.0, 160.0, 500.0, 173.61]),
    window=st.floats(0.5, 12),
    stride=st.floats(0.25, 12),
)
def test_grid_windows_fit_and_leave_no_room(n, rate, window, stride):
    start_s, first = window_starts(n, rate, window, stride)
    width = round(window * rate)
    assert len(start_s) == len(first)
    assert np.all(first >= 0) and np.all(first + width <= n)
    assert np.all(np.abs(first / rate - start_s) <= 0.5 / rate + 1e-9)
    if len(first) > 1:
        assert np.all(np.diff(first) > 0) or stride * rate < 1
    assert len(first) * stride * rate + width > n - 1  # the next one would not fit


@settings(max_examples=200)
@given(onset=st.floats(0, 100), length=st.floats(1, 60), n=st.integers(0, 160 * 120), count=st.integers(0, 4))
def test_onset_windows_begin_in_the_seizure(onset, length, n, count):
    start_s, first, event = onset_starts([(onset, onset + length)], n, 160.0, 10.0, count)
    assert len(start_s) <= count and np.all(event == 0)
    assert np.all(start_s < onset + length) and np.all(first + 1600 <= n)
    if count and round(onset * 160) + 1600 <= n:
        assert start_s[0] == onset


def test_mask_bits_reach_channel_63():
    valid = np.zeros((2, 64), dtype=bool)
    valid[0, 63] = valid[1, 0] = True
    assert pack_mask(valid).tolist() == [2**63, 1]


# Whole batches


def test_a_batch_against_scipy(tmp_path):
    shards = build(Synthetic(3), tmp_path, settings_of(), tmp_path / "s")
    index = shards.index
    assert index["recording"].unique().tolist() == ["r0000", "r0001", "r0002"]
    assert (index["start_s"] == np.tile(np.arange(6) * 10.0, 3)).all()
    assert (index["label"] == np.tile([0, 0, 0, 1, 1, 1], 3)).all()
    first = index[index["recording"] == "r0000"]
    assert first["flat"].tolist() == [0, 0, 1, 0, 0, 0]
    assert first["nan"].tolist() == [0, 1, 0, 0, 0, 0]
    assert first["clipped"].tolist() == [0, 0, 0, 0, 1, 0]
    assert index.groupby("recording")["missing"].max().tolist() == [0, 1, 0]
    rows = first.index.to_numpy()
    mask = shards.mask(rows)
    assert not mask[1, 1] and not mask[2, 2] and mask.sum() == 22
    x = shards.windows(rows)
    assert not x[~mask].any()
    signal = Synthetic().read(tmp_path, next(Synthetic().recordings(tmp_path).itertuples())).data[0]
    sos = scipy.signal.butter(4, (0.5, 40.0), "bandpass", fs=256, output="sos")
    y = scipy.signal.resample_poly(scipy.signal.sosfiltfilt(sos, signal.astype(float)), 5, 8)
    y = (y - y[:9600].mean()) / y[:9600].std()
    assert np.abs(x[1:5, 0].ravel() - y[1600:8000])[400:-400].max() < 0.02
    assert shards.meta["n_quarantined"] == 0 and shards.meta["status"] == "ok"


def test_every_window_is_standardised_in_window_scale(tmp_path):
    shards = build(Synthetic(2), tmp_path, settings_of(scale="window"), tmp_path / "s")
    rows = np.arange(len(shards))
    x, mask = shards.windows(rows), shards.mask(rows)
    assert np.abs(x.mean(axis=-1)).max() < 1e-4
    assert np.allclose(x.std(axis=-1)[mask], 1, atol=1e-3)


def test_onset_windows_are_extra(tmp_path):
    shards = build(Synthetic(1), tmp_path, settings_of(onset_windows=3), tmp_path / "s")
    onset = shards.index[shards.index["kind"] == "onset"]
    assert onset["start_s"].tolist() == [33.0, 43.0] and onset["event"].tolist() == [0, 0]
    assert (shards.index["kind"] == "grid").sum() == 6


def test_broken_recordings_are_quarantined_and_the_rest_goes_on(tmp_path):
    shards = build(Synthetic(14), tmp_path / "raw", settings_of(), tmp_path / "s")
    quarantine = pd.read_csv(tmp_path / "s" / "quarantine.csv")
    assert quarantine["recording"].tolist() == ["r0005", "r0006", "r0012", "r0013"]
    assert quarantine["reason"].tolist() == [
        "r0005: broken on purpose",
        "IndexError: a reader stumbled",
        "r0012: broken on purpose",
        "IndexError: a reader stumbled",
    ]
    assert shards.index["recording"].nunique() == 10


@pytest.mark.parametrize(
    ("event", "outside"), [((-1.0, 9.0), True), ((60.0, 66.5), True), ((0.0, 65.9), False)]
)
def test_seizures_outside_a_recording_are_quarantined_in_every_corpus(event, outside, tmp_path):
    """A second at the end is rounding; labels of all windows are in doubt otherwise."""

    class Outside(Synthetic):
        def events(self, root, row):
            return [event]

    shards = build(Outside(2), tmp_path / "raw", settings_of(), tmp_path / "s")
    assert (len(shards.index) == 0) == outside
    if outside:
        reasons = pd.read_csv(tmp_path / "s" / "quarantine.csv")["reason"]
        assert reasons.str.contains("a seizure from .* lies outside the recording of 65 s").all()


def test_a_bug_is_not_taken_for_a_broken_recording(tmp_path):
    class Buggy(Synthetic):
        def read(self, root, row):
            raise AttributeError("a bug")

    with pytest.raises(AttributeError):
        build(Buggy(1), tmp_path, settings_of(), tmp_path / "s")
    assert not list((tmp_path / "s").glob("*.npy"))


def digests(folder: Path) -> dict[str, str]:
    files = [
        *folder.glob("shard-*.npy"),
        *(folder / name for name in ("index.parquet", "meta.json", "quarantine.csv")),
    ]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_bytes_do_not_depend_on_jobs_or_place(tmp_path):
    found = []
    for batches in (1, 2, 4):
        chosen = settings_of(batches=batches, onset_windows=2, dtype="float16")
        folder = tmp_path / f"b{batches}"
        build(Synthetic(13, 31.0), tmp_path / f"raw{batches}", chosen, folder)
        found.append(digests(folder))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 4 + 3


@pytest.mark.parametrize("scale", ["recording", "window"])
def test_scales_bring_back_the_unit(tmp_path, scale):
    dataset = Synthetic(2)
    shards = build(dataset, tmp_path, settings_of(scale=scale), tmp_path / "s")
    rows = np.arange(len(shards))
    signals, mask = shards.signals(rows), shards.mask(rows)
    table = dataset.recordings(tmp_path).set_index("recording", drop=False)
    for row, signal, valid in zip(shards.index.itertuples(), signals, mask, strict=True):
        read = dataset.read(tmp_path, table.loc[row.recording]).data
        first = round(row.start_s * 160)
        expected = band_pass(fill_gaps(read[None]), 256, 160, (0.5, 40))[0, :, first : first + 1600]
        expected = expected - expected.mean(1, keepdims=True)
        found = signal - signal.mean(1, keepdims=True)
        np.testing.assert_allclose(found[valid], expected[valid], atol=2e-3 * expected.std())
        assert not signal[~valid].any()


def test_shards_of_an_earlier_larger_setting_go(tmp_path):
    build(Synthetic(4, 11.0), tmp_path, settings_of(shards=8), tmp_path / "s")
    build(Synthetic(4, 11.0), tmp_path, settings_of(shards=2), tmp_path / "s")
    assert [path.name for path in sorted((tmp_path / "s").glob("*.npy"))] == [
        "shard-00000.npy",
        "shard-00001.npy",
    ]


class SlowestWriter:
    """An executor that does a task only when waited for: as much lies in memory as ever can, every time."""

    def __init__(self, max_workers: int) -> None:
        assert max_workers == 1

    def submit(self, task, *args):
        return SimpleNamespace(result=lambda: task(*args))

    def shutdown(self) -> None:
        pass


def peak_bytes(n: int, folder: Path) -> int:
    tracemalloc.start()
    build(Synthetic(n, 61.0), folder, settings_of(shards=1), folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr("cldtrans.data.shards.ThreadPoolExecutor", SlowestWriter)
    build(Synthetic(2, 61.0), tmp_path / "warm", settings_of(shards=1), tmp_path / "warm")
    few, many = peak_bytes(24, tmp_path / "few"), peak_bytes(96, tmp_path / "many")
    size = (tmp_path / "many" / "shard-00000.npy").stat().st_size
    assert many - few < 0.04 * size  # the index, not the windows


def test_absent_and_empty_corpora_are_empty_shards_with_a_reason(tmp_path):
    dataset = get_dataset("ptbxl")
    chosen = settings_of(rate_hz=500, band_hz=(0.05, 150.0), shards=2, batches=2)
    absent = {"status": "absent", "reason": "the source has no ptb-xl", "checksums_sha256": None}
    shards = build(dataset, tmp_path / "raw", chosen, tmp_path / "absent", absent)
    assert len(shards) == 0 and shards.meta["status"] == "absent"
    assert shards.reason == "the source has no ptb-xl"
    assert np.load(tmp_path / "absent" / "shard-00001.npy").shape == (0, 12, 5000)
    assert shards.windows(np.arange(0)).shape == (0, 12, 5000)

    class Silent(Synthetic):
        def read(self, root, row):
            return Signal(np.zeros((4, 25600), np.float32), 256.0, np.ones(4, bool))

    shards = build(Silent(3), tmp_path, settings_of(), tmp_path / "empty")
    assert shards.meta["status"] == "empty"
    assert "of 4 channels 4 are flat" in str(shards.reason)


def test_a_batch_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataError, match="batch 4 of 4"):
        preprocess_batch(Synthetic(), tmp_path, settings_of(batches=4), 4, tmp_path / "s", OK)


@pytest.mark.data
@pytest.mark.skipif(not MIRROR.is_dir(), reason="no real recordings beside the checkout")
@pytest.mark.parametrize(
    ("name", "changes", "windows"),
    [
        ("chbmit", {"onset_windows": 3, "records": 4}, None),
        ("eegmmidb", {"records": 2}, 6 + 12),
        ("ptbxl", {"rate_hz": 500, "band_hz": (0.05, 150.0), "records": 40}, 40),
    ],
)
def test_real_recordings(tmp_path, name, changes, windows):
    dataset = get_dataset(name)
    if not dataset.folder(MIRROR).is_dir():
        pytest.skip(f"no {name} beside the checkout")
    shards = build(dataset, MIRROR, settings_of(**changes), tmp_path)
    assert shards.meta["n_quarantined"] == 0
    if windows is not None:
        assert len(shards) == windows
    rows = np.arange(len(shards))
    x, mask = shards.windows(rows), shards.mask(rows)
    assert np.isfinite(x).all() and mask.all()
    pooled = x.transpose(1, 0, 2)[:, (shards.index["recording"] == shards.index["recording"][0]).to_numpy()]
    assert np.allclose(pooled.std(axis=(1, 2)), 1, atol=1e-3)


@pytest.mark.data
@pytest.mark.skipif(not (MIRROR / "eegmmidb").is_dir(), reason="no real recordings beside the checkout")
def test_real_recording_against_mne_and_scipy(tmp_path):
    """The whole chain on one EEG file: read by mne, filtered by scipy."""
    import mne

    shards = build(get_dataset("eegmmidb"), MIRROR, settings_of(records=1, shards=1), tmp_path)
    raw = mne.io.read_raw_edf(
        MIRROR / "eegmmidb/1.0.0" / "S001" / f"{shards.index['recording'][0]}.edf", verbose="error"
    )
    names = [name.strip(".").upper() for name in raw.ch_names]
    data = raw.get_data()[[names.index(channel.upper()) for channel in shards.channels]] * 1e6
    sos = scipy.signal.butter(4, (0.5, 40.0), "bandpass", fs=160, output="sos")
    y = scipy.signal.sosfiltfilt(sos, data)
    y = y[:, : len(shards) * 1600]
    y = (y - y.mean(axis=1, keepdims=True)) / y.std(axis=1, keepdims=True)
    x = shards.windows(np.arange(len(shards))).transpose(1, 0, 2).reshape(64, -1)
    x, y = x[:, 2000:-2000], y[:, 2000:-2000]
    scale = (x * y).sum(axis=1, keepdims=True) / (y * y).sum(axis=1, keepdims=True)  # ends differ
    assert np.abs(scale - 1).max() < 0.01 and np.abs(x - scale * y).max() < 0.01
