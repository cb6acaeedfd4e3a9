"""Floors without a signal against arithmetic by hand."""

from pathlib import Path

import hbn_floors
import numpy as np
import pandas as pd
import pytest
from toys.paths import HBN
from toys.shards import write_shards

from cldtrans.baselines.metadata_floor import MetadataFloor, mean_of_earlier, metadata, ridge_floor
from cldtrans.data.base import Task
from cldtrans.data.shards import ShardSet
from cldtrans.methods.windows import LabelledWindows


def test_the_mean_of_earlier_answers_looks_neither_ahead_nor_at_others() -> None:
    y = np.array([1.0, 10.0, 3.0, 5.0, 20.0])
    belongs = np.array(["a", "b", "a", "a", "b"])
    np.testing.assert_array_equal(mean_of_earlier(y, belongs), [np.nan, np.nan, 1.0, 2.0, 10.0])
    later = y.copy()
    later[3:] = 99.0
    np.testing.assert_array_equal(mean_of_earlier(later, belongs)[:4], mean_of_earlier(y, belongs)[:4])


def test_a_line_is_found_and_unknown_cells_are_the_mean() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = 2.0 + 3.0 * x[:, 0]
    found = ridge_floor(x, y, np.repeat(np.arange(20), 3), np.array([[1.0, 0.0], [np.nan, 0.0]]))
    assert found == pytest.approx([5.0, 2.0 + 3.0 * x[:, 0].mean()], abs=1e-2)


def test_what_tells_subjects_apart_and_nothing_else_is_penalised_away() -> None:
    """Fifteen random numbers a subject explain his own labels, and nothing of other subjects'."""
    rng = np.random.default_rng(0)
    subjects = np.tile(np.arange(20), 30)
    y = rng.normal(size=20)[subjects] + 0.1 * rng.normal(size=600)
    x = rng.normal(size=(20, 15))[subjects]
    found = ridge_floor(x, y, subjects, rng.normal(size=(50, 15)))
    least_squares = np.linalg.lstsq(np.c_[x, np.ones(600)], y, rcond=None)[0]
    assert np.std(x @ least_squares[:-1]) > 0.5
    assert np.std(found) < 0.1


def test_the_floor_of_windows_knows_age_and_place_and_no_signal(tmp_path: Path) -> None:
    """Labels that follow from age, not linearly, are told; PTB-XL's 300 years stand for all beyond 89."""
    rng = np.random.default_rng(0)
    age = rng.choice([20.0, 40.0, 60.0, 80.0, 300.0], 200)
    label = np.isin(age, (40.0, 60.0)).astype("int16")
    names = [f"s{k:03d}" for k in range(200)]
    index = pd.DataFrame({"subject": names, "recording": names, "label": label, "age": age, "start_s": 0.0})
    task = Task("toy", "binary", ("no", "yes"))
    stored = {"name": task.name, "kind": task.kind, "classes": list(task.classes)}
    x = rng.standard_normal((200, 2, 8))
    write_shards(tmp_path / "toy", x, index, channels=("a", "b"), sample_rate=8.0, task=stored)
    shards = ShardSet(tmp_path / "toy")
    assert metadata(shards)["age"].max() == 90.0
    assert metadata(shards)["recording_s"].eq(1.0).all()
    train, val, test = (LabelledWindows(shards, rows) for rows in np.split(np.arange(200), [100, 150]))
    floor = MetadataFloor(task, ("a", "b"), 8.0, "eeg", seed=0, threads=1)
    floor.fit(train, val)
    told = floor.predict_proba(test)[:, 1]
    assert told[test.y == 1].min() > told[test.y == 0].max()
    floor.fit(train, LabelledWindows(shards, np.arange(0)))
    assert np.isfinite(floor.predict_proba(test)).all()


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not HBN.is_dir(), reason="no tables of HBN-EEG beside the checkout")
def test_floors_of_real_tables_are_those_that_were_found_before() -> None:
    """Figures of an independent script, fitted on R4 and scored on R5."""
    train, held_out = (hbn_floors.persons_of(HBN / release) for release in ("ds005508", "ds005509"))
    externalizing = hbn_floors.rows_of("2", train, held_out, "externalizing")
    first, second = [
        hbn_floors.labelled_trials(hbn_floors.read_trials(HBN / release), persons)
        for release, persons in (("ds005508", train), ("ds005509", held_out))
    ]
    response = hbn_floors.rows_of("1", first, second, "response_time_s")
    nrmse = {
        f"{row['predicted']} from {row['from']}": float(row["nRMSE"].split()[0])
        for row in externalizing + response
    }
    assert nrmse["externalizing from age, sex, handedness"] == pytest.approx(0.981, abs=0.015)
    assert nrmse["response time from age, sex, handedness"] == pytest.approx(0.988, abs=0.015)
    assert nrmse["response time from mean of earlier trials in the run"] == pytest.approx(0.951, abs=0.015)
