"""HBN-EEG as datasets: windows of trials, factors of persons, releases as the split; on the miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys.preprocess import build, settings_of

from cldtrans.data import get_dataset
from cldtrans.data.hbn.participants import FACTORS, read_participants
from cldtrans.data.hbn.trials import read_trials
from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import budget_rows, make_split, read_index
from cldtrans.errors import DataError

PLACE = "hbn/eeg2025"
SETTINGS = {"window_s": 2, "stride_s": 2, "rate_hz": 100, "band_hz": (0.5, 45), "dtype": "float32"}


@pytest.fixture(scope="module")
def shards(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ShardSet]:
    found = {}
    for name in ("hbn-rt", "hbn-hit", "hbn-factors"):
        folder = tmp_path_factory.mktemp(name)
        build(get_dataset(name), bucket, settings_of(**SETTINGS), folder)
        found[name] = ShardSet(folder)
    return found


def test_a_window_is_half_a_second_after_its_target(bucket: Path, shards: dict[str, ShardSet]) -> None:
    windows = shards["hbn-rt"]
    trials = pd.concat([read_trials(folder) for folder in sorted((bucket / PLACE).glob("R*_bdf"))])
    known = trials[(trials["problem"] == "") & trials["subject"].isin(windows.index["subject"])]
    table = windows.index.sort_values(["subject", "start_s"], ignore_index=True)
    known = known.sort_values(["subject", "target_s"], ignore_index=True)
    assert len(table) == len(known) > 20
    np.testing.assert_allclose(table["start_s"], known["target_s"] + 0.5, atol=1e-6)
    np.testing.assert_allclose(table["label_response_time_s"], known["response_time_s"], rtol=1e-5)
    np.testing.assert_allclose(table["foreperiod_s"], known["foreperiod_s"], rtol=1e-5)
    for _, one in table.groupby("subject"):
        time = one["label_response_time_s"].to_numpy(dtype=float)
        assert np.isnan(one["earlier_s"].iloc[0])
        for k in range(1, len(one)):
            assert one["earlier_s"].iloc[k] == pytest.approx(time[:k].mean(), rel=1e-5)
    hits = shards["hbn-hit"].index.sort_values(["subject", "start_s"], ignore_index=True)
    assert hits["label"].tolist() == known["hit"].astype(int).tolist()


def test_129_channels_and_their_mask(bucket: Path, shards: dict[str, ShardSet]) -> None:
    windows = shards["hbn-rt"]
    rows = np.arange(len(windows))
    assert len(windows.channels) == 129 and windows.channels[-1] == "Cz"
    assert windows.windows(rows).shape == (len(windows), 129, 200)
    assert windows.mask(rows).shape == (len(windows), 129) and windows.mask(rows).all()
    assert {"channel_mask_1", "channel_mask_2"} <= set(windows.index)
    quarantine = pd.read_csv(windows.folder / "quarantine.csv")
    assert quarantine["reason"].str.contains("found 6 of these channels").sum() == 1


def test_channels_are_found_by_name_in_microvolts(bucket: Path) -> None:
    import mne

    dataset = get_dataset("hbn-rt")
    row = next(dataset.recordings(bucket).itertuples(index=False))
    signal = dataset.read(bucket, row)
    raw = mne.io.read_raw_bdf(bucket / row.path, preload=True, verbose="error")
    assert raw.ch_names == list(dataset.channels) and raw.info["sfreq"] == signal.rate_hz == 100
    np.testing.assert_allclose(signal.data, raw.get_data() * 1e6, atol=1e-3)


def test_factors_are_the_persons(bucket: Path, shards: dict[str, ShardSet]) -> None:
    windows = shards["hbn-factors"]
    assert windows.task is not None and windows.task.of_subjects and windows.task.kind == "regression"
    persons = pd.concat([read_participants(folder) for folder in sorted((bucket / PLACE).glob("R*_bdf"))])
    persons = persons.set_index("subject")
    labels = windows.labels(np.arange(len(windows)))
    assert labels.shape == (len(windows), len(FACTORS))
    for k, subject in enumerate(windows.index["subject"]):
        np.testing.assert_allclose(labels[k], persons.loc[subject, list(FACTORS)].to_numpy(float), rtol=1e-5)


def test_releases_are_the_split(bucket: Path, shards: dict[str, ShardSet]) -> None:
    dataset, windows = get_dataset("hbn-rt"), shards["hbn-rt"]
    split = make_split(dataset, read_index(dataset, windows.folder), 42)
    release = windows.index.groupby("subject")["release"].first()
    parts = dict(zip(split["subject"], split["split"], strict=True))
    assert {parts[s] for s in release.index[release == "R5"]} == {"test"}
    assert {parts[s] for s in release.index[release == "R4"]} == {"train", "val"}
    few = budget_rows(windows, parts, "0.1", 42)
    every = budget_rows(windows, parts, "1.0", 42)
    assert set(few) < set(every) and len(few) == (pd.Series(parts) == "train").sum()  # one of each subject's


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    place = tmp_path / PLACE / "R5"
    place.mkdir(parents=True)
    columns = ["participant_id", "release_number", "sex", "age", "ehq_total", *FACTORS]
    (place / "participants.tsv").write_text("\t".join(columns) + "\n")
    with pytest.raises(DataError, match=r"expected sub-\*/eeg/\*_eeg\.set or \.bdf"):
        get_dataset("hbn-rt").recordings(tmp_path)
