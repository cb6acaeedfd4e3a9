"""Labels of HBN-EEG: a run by hand, damaged tables, and the real tables of two releases."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys.paths import HBN

from cldtrans.data.hbn.participants import (
    FACTORS,
    STARTER_KIT_DROPS,
    TRAINING_RELEASES,
    read_participants,
    split_by_release,
)
from cldtrans.data.hbn.trials import COLUMNS, NO_PRESS, NO_TARGET, read_trials, trials_of_run
from cldtrans.errors import DataError

RELEASES = {"R4": "ds005508", "R5": "ds005509"}
HEADER = "\t".join(("participant_id", "release_number", "sex", "age", "ehq_total", *FACTORS))
needs_tables = pytest.mark.skipif(not HBN.is_dir(), reason="no tables of HBN-EEG beside the checkout")

# Five trials.
RUN = [
    (10.0, "contrastTrial_start"),
    (11.0, "left_buttonPress"),  # before the target, so no answer to it; then a hit
    (12.8, "right_target"),
    (14.05, "right_buttonPress"),
    (14.5, "left_buttonPress"),
    (15.0, "contrastTrial_start"),  # a miss
    (17.8, "left_target"),
    (19.0, "right_buttonPress"),
    (20.0, "contrastTrial_start"),  # no press before the next trial: the one at its very start is too late
    (22.8, "left_target"),
    (25.0, "left_buttonPress"),
    (25.0, "contrastTrial_start"),  # no target
    (26.0, "left_buttonPress"),
    (30.0, "contrastTrial_start"),  # a press together with the target
    (32.8, "left_target"),
    (32.8, "left_buttonPress"),
    (35.0, "contrastTrial_start"),  # the run's end
    (41.0, "break cnt"),
]


def write_events(folder: Path, rows: Sequence[tuple[object, str]], subject: str = "A", run: int = 1) -> Path:
    path = folder / f"sub-{subject}/eeg/sub-{subject}_task-contrastChangeDetection_run-{run}_events.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{onset}\tn/a\t0\t{value}\t0\tn/a\n" for onset, value in rows]
    path.write_text("onset\tduration\tsample\tvalue\tevent_code\tfeedback\n" + "".join(lines))
    return path


def test_a_run_by_hand(tmp_path: Path) -> None:
    write_events(tmp_path, RUN)
    write_events(tmp_path, RUN[::-1], run=2)  # in any order, but for what happens at once
    table = read_trials(tmp_path)
    assert list(table.columns) == list(COLUMNS)
    assert table["run"].tolist() == [1] * 5 + [2] * 5
    found = table[table["run"] == 1]
    assert found["trial"].tolist() == [0, 1, 2, 3, 4]
    assert found["problem"].tolist() == ["", "", NO_PRESS, NO_TARGET, ""]
    assert found["target"].tolist() == ["right", "left", "left", "", "left"]
    np.testing.assert_allclose(found["response_time_s"], [1.25, 1.2, np.nan, np.nan, 0.0])
    np.testing.assert_allclose(found["foreperiod_s"], [2.8, 2.8, 2.8, np.nan, 2.8])
    np.testing.assert_array_equal(found["hit"], [1.0, 0.0, np.nan, np.nan, 1.0])
    np.testing.assert_allclose(found["window_start_s"], [13.3, 18.3, 23.3, np.nan, 33.3])
    np.testing.assert_allclose(found["window_stop_s"] - found["window_start_s"], [2, 2, 2, np.nan, 2])
    again = table[table["run"] == 2]
    pd.testing.assert_series_equal(again["response_time_s"], found["response_time_s"], check_index=False)


def test_a_run_that_never_began_has_no_trials() -> None:
    assert len(trials_of_run(np.array([0.0]), np.array(["break cnt"]))) == 0
    assert len(trials_of_run(np.zeros(0), np.zeros(0, dtype=str))) == 0


def test_damaged_events_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected runs of contrastChangeDetection, found none"):
        read_trials(tmp_path)
    path = write_events(tmp_path, [(1.0, "left_target"), ("n/a", "left_target")])
    with pytest.raises(DataError, match=r"run-1_events.tsv: row 2: expected an onset in seconds"):
        read_trials(tmp_path)
    write_events(tmp_path, [("soon", "left_target")])
    with pytest.raises(DataError, match=r"run-1_events.tsv: onset: expected a number, found 'soon'"):
        read_trials(tmp_path)
    path.write_text("onset\tduration\n1\t2\n")
    with pytest.raises(DataError, match=r"run-1_events.tsv: missing column 'value'; found onset, duration"):
        read_trials(tmp_path)


def write_participants(folder: Path, *rows: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "participants.tsv").write_text("\n".join((HEADER, *(row.replace(" ", "\t") for row in rows))))
    return folder


def test_participants_and_their_division(tmp_path: Path) -> None:
    dropped = min(STARTER_KIT_DROPS)
    training = write_participants(
        tmp_path / "4",
        "sub-B R4 M 8.5 n/a 1 2 3 n/a",
        "sub-A R4 F 9 -40 0.5 0 0 -1",
        f"sub-{dropped} R4 F 9 1 0 0 0 0",
    )
    table = read_participants(training)
    assert table["subject"].tolist() == ["A", "B"]
    np.testing.assert_array_equal(table["externalizing"], [-1, np.nan])
    np.testing.assert_array_equal(table["ehq_total"], [-40, np.nan])
    assert dropped in read_participants(training, dropped=()).subject.tolist()
    validation = read_participants(write_participants(tmp_path / "5", "sub-C R5 M 8 1 1 1 1 1"))
    split = split_by_release(pd.concat([table, validation]))
    assert split.to_dict() == {"A": "train", "B": "train", "C": "val"}
    with pytest.raises(DataError, match="expected a person in one of them, found A in two"):
        split_by_release(pd.concat([table, validation.assign(subject="A")]))
    with pytest.raises(DataError, match="found R12"):
        split_by_release(validation.assign(release="R12"))
    assert len(STARTER_KIT_DROPS) == 9
    assert len(TRAINING_RELEASES) == 10


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["sub-A R4 F 9 1 0 0 0 0"] * 2, "expected a row a person, found A twice"),
        (["sub-A R4 X 9 1 0 0 0 0"], "A: expected sex F or M, found X"),
        (["sub-A R4 F old 1 0 0 0 0"], "age: expected a number, found 'old'"),
        (["sub-A R4 F 9 1 0 inf 0 0"], "attention: expected a number, found 'inf'"),
        (["sub-A R4 F 9 1 0 0 0 0", "n/a R4 F 9 1 0 0 0 0"], "row 2: expected participant_id"),
    ],
)
def test_damaged_participants_are_refused_by_name(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_participants(write_participants(tmp_path, *rows))


@needs_tables
@pytest.mark.data
def test_a_real_run_counted_by_hand() -> None:
    """Read off the table by eye: 25 starts, five targets without a press in time, two misses."""
    name = "sub-NDARNZ610KZY_task-contrastChangeDetection_run-1_events.tsv"
    events = pd.read_csv(HBN / "ds005509" / "sub-NDARNZ610KZY" / "eeg" / name, sep="\t")
    run = trials_of_run(events["onset"].to_numpy(), events["value"].to_numpy(dtype=str))
    assert len(run) == 24
    assert run["start_s"][run["problem"] == NO_PRESS].tolist() == [57.65, 76.45, 117.248, 132.448, 169.648]
    assert run["start_s"][run["hit"] == 0].tolist() == [50.85, 66.05]
    assert run["hit"].sum() == 17
    assert run["response_time_s"].iloc[:3].tolist() == pytest.approx([1.19, 2.26, 1.61])


@needs_tables
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_hits_of_real_trials_are_those_that_the_feedback_says(release: str) -> None:
    """The feedback was shown by the task itself, which knew the answer: smiley or sad face."""
    folder = HBN / RELEASES[release]
    trials = read_trials(folder)
    unlabelled = (trials["problem"] != "").mean()
    assert 0.145 < unlabelled < 0.165
    faces = []
    for path in folder.glob("sub-*/eeg/*_task-contrastChangeDetection_run-*_events.tsv"):
        subject, _, run, _ = path.name.removeprefix("sub-").split("_")
        events = pd.read_csv(path, sep="\t", usecols=["onset", "feedback"]).dropna()
        events = events[events["feedback"] != "non_target"]
        faces.append(events.assign(subject=subject, run=int(run.removeprefix("run-"))))
    shown = pd.concat(faces).rename(columns={"onset": "press_s"})
    joined = trials.merge(shown, on=["subject", "run", "press_s"])
    assert (joined["hit"] == (joined["feedback"] == "smiley_face")).all()
    assert (trials["problem"] == "").sum() - len(joined) <= 2


@needs_tables
@pytest.mark.data
def test_real_participants() -> None:
    both = pd.concat([read_participants(HBN / folder) for folder in RELEASES.values()])
    assert split_by_release(both).value_counts().to_dict() == {"val": 330, "train": 324}
    assert both.groupby("release")["externalizing"].count().to_dict() == {"R4": 318, "R5": 323}
    assert both["age"].between(5, 22).all()
