"""Leaks that were found in public benchmarks, planted one at a time: the audit names each of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from toys.shards import write_shards, write_split

from cldtrans.data.base import Dataset, Task, recording_table
from cldtrans.data.montages.montage import DOUBLE_BANANA
from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import assign
from cldtrans.evaluation.audit import claims, divisions, windows
from cldtrans.evaluation.audit.finding import Finding, of_folds
from cldtrans.evaluation.audit.floor import floor_finding, metadata_floor
from cldtrans.evaluation.audit.persons import persons

STAGE = Task("stage", "multiclass", ("W", "N1", "N2"))
WINDOW_S = 4.0
ELECTRODES = ("Fp1-F3", "F3-C3")


class Nights(Dataset):
    """Recordings with their stages, one a window, in a table of annotations."""

    name, title, slug, version, doi, licence, modality = "toy", "Toy", "toy", "1", "-", "-", "eeg"
    channels: ClassVar[tuple[str, ...]] = ELECTRODES
    task: ClassVar[Task | None] = STAGE

    def recordings(self, root: Path) -> pd.DataFrame:
        names = pd.read_csv(root / "stages.csv")["recording"].unique()
        return recording_table({"recording": names, "subject": [n[:3] for n in names], "path": names})

    def read(self, root: Path, row: Any) -> Any:
        raise AssertionError("an audit reads no signals")

    def label_windows(self, root, row, start_s, window_s):
        table = pd.read_csv(root / "stages.csv").query("recording == @row.recording")
        at = (np.asarray(start_s) // window_s).astype(int)
        return {"label": table["stage"].to_numpy()[at].astype(np.int16)}


def nights(
    folder: Path,
    *,
    n_subjects: int = 20,
    per_night: int = 30,
    begins: Any = None,
    shift: int = 0,
    channels: tuple[str, ...] = ELECTRODES,
    ordered: bool = False,
) -> ShardSet:
    """Windows of noise with stages at random; the arguments plant a leak.

    begins(stage): added to the start of a window. shift: windows by which labels are late. ordered: stages by
    the time in the recording.
    """
    rng = np.random.default_rng(0)
    n = n_subjects * per_night
    name = np.repeat([f"s{k:02d}" for k in range(n_subjects)], per_night)
    place = np.tile(np.arange(per_night), n_subjects)
    stage = place * 3 // per_night if ordered else rng.integers(0, 3, n)
    folder.mkdir(exist_ok=True)
    pd.DataFrame({"recording": name, "stage": stage}).to_csv(folder / "stages.csv", index=False)
    start_s = place * WINDOW_S + (0 if begins is None else begins(stage))
    label = np.roll(stage.reshape(n_subjects, per_night), shift, axis=1).ravel().astype("int16")
    write_shards(
        folder / "shards",
        rng.standard_normal((n, len(channels), 40)),
        pd.DataFrame({"subject": name, "recording": name, "label": label, "start_s": start_s}),
        channels=channels,
        sample_rate=40 / WINDOW_S,
        task={"name": STAGE.name, "kind": STAGE.kind, "classes": list(STAGE.classes)},
    )
    return ShardSet(folder / "shards")


def split_of(found: ShardSet) -> dict[str, str]:
    names = sorted(set(found.index["subject"]))
    return {n: "test" if k % 2 else ("val" if k % 10 == 0 else "train") for k, n in enumerate(names)}


def floor(found: ShardSet) -> Any:
    split = write_split(found.folder.parent / "seed-0.csv", split_of(found))
    return floor_finding("toy", STAGE.kind, metadata_floor(found, split, 0))


def test_a_clean_dataset_passes(tmp_path):
    found = nights(tmp_path)
    person, parts = persons("toy", found.index, tmp_path), assign(found, split_of(found))
    checks = [
        windows.crop_start(found, Nights(), tmp_path),
        windows.channels(found, Nights()),
        windows.label_times(found, Nights(), tmp_path),
        divisions.person_on_two_sides("toy", person, parts),
        divisions.nested_budgets("toy", found, split_of(found), 42),
        divisions.pretrained_on_test("toy", person, parts, np.flatnonzero(parts == "train")),
        floor(found),
    ]
    assert {one.check: one.status for one in checks} == {one.check: "passed" for one in checks}


def test_a_crop_that_begins_where_the_stage_says(tmp_path):
    found = nights(tmp_path, begins=lambda stage: 0.5 * stage)
    caught = windows.crop_start(found, Nights(), tmp_path)
    assert (caught.check, caught.status) == ("crop start", "failed")
    assert "begin off the grid, the first: s00 at" in caught.found


def test_stages_that_follow_from_the_time_in_the_recording_are_flagged(tmp_path):
    """On the grid, and yet the crop tells the stage: the floor of the metadata says how well."""
    caught = floor(nights(tmp_path, ordered=True))
    assert (caught.check, caught.status) == ("metadata floor", "flagged")
    assert float(caught.found.split()[0]) > 0.8


@pytest.mark.parametrize("shift", [1, -2])
def test_annotations_that_are_shifted_in_time(tmp_path, shift):
    caught = windows.label_times(nights(tmp_path, shift=shift), Nights(), tmp_path)
    assert (caught.check, caught.status) == ("label times", "failed")
    assert caught.found.startswith("20 recordings disagree: s00: ")


def test_a_kinematic_channel_fed_as_eeg(tmp_path):
    found = nights(tmp_path, channels=(*ELECTRODES, "accel_x"))
    caught = windows.channels(found, Nights())
    assert (caught.check, caught.status) == ("channels", "failed")
    assert caught.found == "not as declared: accel_x; no EEG: accel_x"

    class Declared(Nights):
        channels = (*ELECTRODES, "accel_x")

    assert windows.channels(found, Declared()).found == "no EEG: accel_x"


@pytest.mark.parametrize(("more", "found"), [((), ""), (("accel_x",), "no EEG: accel_x")])
def test_a_numbered_cap_is_eeg_and_what_hangs_on_it_is_not(tmp_path, more, found):
    class Cap(Nights):
        channels = ("E1", "E64", "E100", "E128", "Cz", *more)

    seen = windows.channels(nights(tmp_path, n_subjects=2, channels=Cap.channels), Cap())
    assert (seen.status, seen.found) == (
        ("failed", found) if found else ("passed", "5 channels, as declared")
    )


@pytest.mark.parametrize(("of_stage", "status"), [(0.0, "passed"), (0.5, "failed")])
def test_windows_on_trials_lie_where_the_dataset_places_them(tmp_path, of_stage, status):
    class Trials(Nights):
        places_windows = True

        def window_starts(self, root: Path, row: Any, window_s: float) -> np.ndarray:
            return np.arange(30) * window_s + 1.3

    found = nights(tmp_path, begins=lambda stage: 1.3 + of_stage * stage)
    caught = windows.crop_start(found, Trials(), tmp_path)
    assert (caught.check, caught.status) == ("crop start", status)


def test_a_linear_probe_that_was_fine_tuning():
    record = {"experiment": "fewshot", "dataset": "toy", "method": "cldtrans", "budget": "1.0", "seed": 42}
    honest = claims.fitted_parameters(record | {"parameters": 3 * 17}, STAGE, 16, probed=True)
    caught = claims.fitted_parameters(record | {"parameters": 123_456}, STAGE, 16, probed=True)
    frozen = claims.fitted_parameters(record | {"parameters": 3 * 17}, STAGE, 16, probed=False)
    assert (caught.check, caught.status, caught.found) == (
        "trainable parameters",
        "failed",
        "123456 were fitted",
    )
    assert honest.status == "passed"
    assert frozen.status == "failed"
    assert (
        claims.fitted_parameters(record | {"parameters": None}, STAGE, 16, probed=True).status
        == "not checked"
    )


@pytest.mark.parametrize(
    ("dataset", "recordings"),
    [("chbmit", ("chb01_03", "chb21_19")), ("sleepedf", ("SC4001E", "SC4002E")), ("ptbxl", ("7", "12"))],
)
def test_one_person_under_two_names(tmp_path, dataset, recordings):
    """A girl with two cases, two nights of a sleeper, two ECGs of a patient: the index is not believed."""
    tables = tmp_path / "ptb-xl/1.0.3"
    tables.mkdir(parents=True)
    pd.DataFrame({"ecg_id": [7, 12, 13], "patient_id": [5, 5, 6]}).to_csv(tables / "ptbxl_database.csv")
    index = pd.DataFrame({"subject": ["a", "b"], "recording": recordings})
    person, parts = persons(dataset, index, tmp_path), np.array(["train", "test"])
    caught = divisions.person_on_two_sides(dataset, person, parts)
    assert (caught.check, caught.status) == ("person on two sides", "failed")
    assert divisions.person_on_two_sides(dataset, person, np.array(["train", ""])).status == "passed"
    seen = divisions.pretrained_on_test(dataset, person, parts, np.array([0]))
    assert (seen.check, seen.status) == ("pretrained on test persons", "failed")


def test_of_folds_the_first_that_fails_speaks():
    passed = Finding("person on two sides", "toy", "passed", "-", "9 persons")
    caught = replace(passed, status="failed", found="1 of 9")
    assert of_folds([passed]) == passed
    assert of_folds([passed, passed]).found == "2 folds, the first: 9 persons"
    found = of_folds([passed, caught, passed, caught])
    assert (found.status, found.found) == ("failed", "fold 1 (2 of 4): 1 of 9")


def test_the_witness_agrees():
    pytest.importorskip("leakfence", reason="the independent witness is not installed")
    person = pd.Series(["a", "a", "b", "c"])
    assert divisions.witness("x", person, np.array(["train", "train", "val", "test"])).status == "passed"
    caught = divisions.witness("x", person, np.array(["train", "test", "val", "test"]))
    assert caught.status == "failed"


def test_an_onset_that_is_not_the_files(tmp_path):
    """Windows counted from a seizure's onset begin a whole number of windows after it."""

    class Seizures(Nights):
        task, has_events, channels = None, True, DOUBLE_BANANA

        def events(self, root, row):
            return [(20.0, 60.0)]

    found = nights(tmp_path)
    found.task = None
    onset = found.index["start_s"].isin([20.0, 24.0])
    found.index.loc[onset, ["kind", "event"]] = ["onset", 0]
    assert windows.label_times(found, Seizures(), tmp_path).status == "passed"
    found.index.loc[onset, "start_s"] += 1.0
    assert windows.label_times(found, Seizures(), tmp_path).status == "failed"
