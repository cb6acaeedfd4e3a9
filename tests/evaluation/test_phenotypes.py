"""Groups that are there are found and claimed; where there are none, none is."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from toys.shards import write_shards

from cldtrans.cli import main
from cldtrans.data.base import time_to_event
from cldtrans.data.shards import ShardSet, describe_task
from cldtrans.evaluation.phenotypes.association import cramers_v, log_rank, with_labels
from cldtrans.evaluation.phenotypes.phenotypes import find_phenotypes, persons, trajectories

TASK = time_to_event("relapse", (100.0, 200.0))


def cohort(folder, groups: int, n: int = 45, seed: int = 0):
    """Persons with two recordings of two windows each, in groups that relapse the earlier the later."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % groups
    centres = 4 * rng.normal(size=(groups, 12)) if groups > 1 else np.zeros((1, 12))
    features = np.repeat(centres[group] + rng.normal(size=(n, 12)), 4, axis=0) + 0.1 * rng.normal(
        size=(4 * n, 12)
    )
    time = rng.exponential(150 / (1 + 3 * group))
    subject = np.repeat([f"s{k:02d}" for k in range(n)], 4)
    index = pd.DataFrame(
        {
            "subject": subject,
            "recording": [f"{name}-{k % 4 // 2}" for k, name in enumerate(subject)],
            "start_s": np.tile([0.0, 10.0, 0.0, 10.0], n),
            "time_s": np.repeat(np.minimum(time, 250.0), 4),
            "event": np.repeat((time < 250).astype(float), 4),
        }
    )
    x = rng.standard_normal((4 * n, 2, 20))
    write_shards(folder / "toy", x, index, channels=("A", "B"), sample_rate=100.0, task=describe_task(TASK))
    np.savez(folder / "features.npz", features=features.astype(np.float32))
    return ShardSet(folder / "toy"), features, group


def test_groups_are_found_with_their_number_and_what_they_go_with(tmp_path) -> None:
    windows, features, group = cohort(tmp_path, 3)
    found = find_phenotypes(windows, features, methods=("kmeans", "hdbscan"), most=5, resamples=50)["persons"]
    assert found["p"] < 0.05 and found["chosen"]["k"] == 3
    labels = np.array(found["chosen"]["labels"])
    inside = labels >= 0
    assert cramers_v(labels[inside], group[inside]) > 0.95
    relapse = found["associations"][0]
    assert relapse["question"] == "relapse" and relapse["p_holm"] < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_where_there_are_no_groups_none_is_claimed(seed, tmp_path) -> None:
    windows, features, _ = cohort(tmp_path, 1, seed=seed)
    found = find_phenotypes(windows, features, methods=("kmeans",), most=4, resamples=50, seed=seed)[
        "persons"
    ]
    assert found["chosen"] is None and "no groups are claimed" in found["reason"]


def test_persons_are_points_and_trajectories_go_from_first_to_last(tmp_path) -> None:
    windows, features, _ = cohort(tmp_path, 2, n=10)
    points, names = persons(features, windows.index)
    assert points == pytest.approx(features.reshape(10, 4, 12).mean(1)) and len(names) == 10
    moves, who = trajectories(features, windows.index)
    pairs = features.reshape(10, 2, 2, 12).mean(2)
    assert moves == pytest.approx(pairs[:, 1] - pairs[:, 0]) and who.tolist() == names.tolist()


def test_the_log_rank_test_is_that_of_scikit_survival() -> None:
    compare = pytest.importorskip("sksurv.compare")
    rng = np.random.default_rng(1)
    groups, time = np.arange(90) % 3, np.ceil(rng.exponential(20, 90))
    event = rng.random(90) < 0.7
    truth = np.array(list(zip(event, time, strict=True)), dtype=[("event", bool), ("time", float)])
    statistic, p = compare.compare_survival(truth, groups)
    found = log_rank("x", groups, time, event)
    assert found.effect == pytest.approx(statistic) and found.p == pytest.approx(p)
    assert log_rank("x", np.zeros(90, dtype=int), time, event).p is None


def test_association_with_labels_is_by_permutation() -> None:
    rng = np.random.default_rng(2)
    groups = np.arange(60) % 2
    assert with_labels("same", groups, groups, 0).p == pytest.approx(1 / 2001)
    assert (with_labels("other", groups, rng.permutation(groups), 0).p or 0.0) > 0.05
    assert with_labels("constant", groups, np.zeros(60), 0).p is None


def test_the_command_writes_record_and_figure(tmp_path) -> None:
    cohort(tmp_path, 2, n=9)
    output = tmp_path / "out/seed-42.json"
    given = ["--shards", str(tmp_path / "toy"), "--features", str(tmp_path / "features.npz")]
    assert main(["phenotypes", *given, "--resamples", "20", "--most", "3", "--output", str(output)]) == 0
    record = json.loads(output.read_text())
    assert {one["method"] for one in record["persons"]["clusterings"]} == {
        "kmeans",
        "agglomerative",
        "hdbscan",
    }
    assert output.with_suffix(".png").stat().st_size > 1000
