"""Phenotypes in one checkpoint's embeddings: their number, stability, and what they go with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from cldtrans.data.shards import ShardSet
from cldtrans.errors import DataError
from cldtrans.evaluation.phenotypes.association import Association, log_rank, with_labels
from cldtrans.evaluation.phenotypes.stability import NULLS, Stability, chosen, stability_of
from cldtrans.files import write_json
from cldtrans.scoring.summary import holm

LEAST_PERSONS = 8
MOST_COMPONENTS = 10
LEVEL = 0.95  # of the null, that the figure shows
VARIANCE = 0.9
"""Part of the persons' variance that the components keep, where `MOST_COMPONENTS` suffice."""


def persons(features: np.ndarray, index: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return each person's mean embedding [n, F], one point whatever his windows, and the names [n]."""
    names, place = np.unique(index["subject"].to_numpy().astype(str), return_inverse=True)
    total = np.zeros((len(names), features.shape[1]))
    np.add.at(total, place, features)
    return total / np.bincount(place)[:, None], names


def reduced(x: np.ndarray) -> np.ndarray:
    """Return standardised principal components [n, F'] of points [n, F]."""
    most = min(MOST_COMPONENTS, len(x) // 3 or 1, x.shape[1])
    found = PCA(most, svd_solver="full").fit(StandardScaler().fit_transform(x))
    share = np.cumsum(found.explained_variance_ratio_)
    keep = int(np.searchsorted(share, VARIANCE * share[-1])) + 1
    return found.transform(StandardScaler().fit_transform(x))[:, :keep]


def associations(groups: np.ndarray, windows: ShardSet, names: np.ndarray, seed: int) -> list[Association]:
    """Test groups of persons against the task, and age and sex where the index has them.

    A person has a class where more of his windows have it than the median person's share; of a time to an
    event his first window counts.
    """
    index, task = windows.index, windows.task
    subject = index["subject"].to_numpy().astype(str)
    inside = groups >= 0
    found = []
    if task is not None and task.kind == "time_to_event":
        first = index.sort_values("start_s", kind="stable").groupby("subject")[["time_s", "event"]].first()
        one = first.loc[names[inside]]
        found.append(
            log_rank(task.name, groups[inside], one["time_s"].to_numpy(), one["event"].to_numpy() == 1)
        )
    elif task is not None:
        for k, name in enumerate(task.classes if task.kind != "binary" else task.classes[1:]):
            has = (
                index[f"label_{name}"] == 1
                if task.kind == "multilabel"
                else index["label"] == (k if task.kind == "multiclass" else 1)
            )
            share = has.groupby(subject).mean().loc[names].to_numpy()
            found.append(with_labels(name, groups[inside], (share > np.median(share))[inside], seed))
    for column in ("sex", "age"):
        if column in index:
            one = index.groupby(subject)[column].first().loc[names]
            if column == "age":
                number = pd.to_numeric(one, errors="coerce")
                one = (number > number.median()).astype(str)
            found.append(with_labels(column, groups[inside], one.to_numpy().astype(str)[inside], seed))
    return found


def trajectories(features: np.ndarray, index: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return how each person's embedding changes from his first to his last recording [n, F], and the names.

    Persons with one recording have no trajectory and are left out.
    """
    frame = index[["subject", "recording"]].astype(str)
    means = pd.DataFrame(features).groupby([frame["subject"], frame["recording"]]).mean()
    many = means.groupby(level=0).size()
    kept = many.index[many > 1]
    moves = [means.loc[name].iloc[-1].to_numpy() - means.loc[name].iloc[0].to_numpy() for name in kept]
    return np.array(moves).reshape(len(kept), features.shape[1]), kept.to_numpy().astype(str)


def find_phenotypes(
    windows: ShardSet,
    features: np.ndarray,
    *,
    methods: Sequence[str] = ("kmeans", "agglomerative", "hdbscan"),
    most: int = 6,
    resamples: int = 50,
    seed: int = 0,
) -> dict[str, Any]:
    """Cluster the persons of a dataset, and their trajectories where enough have several recordings.

    Parameters
    ----------
    windows : ShardSet
        Of the dataset.
    features : array [windows, F]
        From a checkpoint.
    methods : sequence of str
        As in `stability_of`.
    most : int
        Largest number of clusters tried.
    resamples : int
        Bootstrap samples of each clustering.
    seed : int
        Of everything random.

    Returns
    -------
    dict
        `persons` and `trajectories`, each with `clusterings`, the chosen one (None: no groups beyond chance),
        and its associations with p corrected by Holm; or a reason.
    """
    found = {}
    for name, (x, names) in (
        ("persons", persons(features, windows.index)),
        ("trajectories", trajectories(features, windows.index)),
    ):
        if len(x) < LEAST_PERSONS:
            found[name] = {"reason": f"{len(x)} persons; {LEAST_PERSONS} or more are needed", "n": len(x)}
            continue
        points, rng = reduced(x), np.random.default_rng(seed)
        nulls = [reduced(rng.permuted(x, axis=0)) for _ in range(NULLS)]
        tried = [
            stability_of(points, nulls, method, k, resamples, seed)
            for method in methods
            for k in (range(2, min(most, len(x) // 3) + 1) if method != "hdbscan" else (0,))
        ]
        found[name] = _described(tried, points, names, windows, seed)
    return found


def _described(
    tried: list[Stability], points: np.ndarray, names: np.ndarray, windows: ShardSet, seed: int
) -> dict[str, Any]:
    best, p = chosen(tried)
    record: dict[str, Any] = {
        "n": len(names),
        "clusterings": [
            {name: value for name, value in vars(one).items() if name not in ("labels", "null")}
            | {"null_mean": float(one.null.mean()), "null_high": float(np.quantile(one.null, LEVEL))}
            for one in tried
        ],
        "p": p,
        "chosen": None,
        "names": names.tolist(),
        "plane": points[:, :2].tolist() if points.shape[1] > 1 else [[v, 0.0] for v in points[:, 0]],
    }
    if best is None:
        record["reason"] = (
            "no clustering is more stable than those of shuffled coordinates: no groups are claimed"
        )
        return record
    tests = associations(best.labels, windows, names, seed)
    corrected = holm(np.array([np.nan if one.p is None else one.p for one in tests]))
    record["chosen"] = {"method": best.method, "k": best.k, "labels": best.labels.tolist()}
    record["associations"] = [
        vars(one) | {"p_holm": None if one.p is None else float(p)}
        for one, p in zip(tests, corrected, strict=True)
    ]
    return record


def run_phenotypes(
    shards: Path, features: Path, output: Path, *, resamples: int, most: int, seed: int
) -> None:
    """Write the phenotypes of one dataset and checkpoint as JSON, and their figure as PNG beside it.

    Raises
    ------
    DataError
        Where features and index disagree.
    """
    windows = ShardSet(shards)
    if windows.reason is not None:
        record: dict[str, Any] = {"reason": windows.reason}
    else:
        with np.load(features) as content:
            vectors = content["features"]
        if len(vectors) != len(windows):
            raise DataError(
                f"{features}: features of {len(vectors)} windows, but the index holds {len(windows)}; "
                "delete it and run again"
            )
        record = find_phenotypes(windows, vectors, most=most, resamples=resamples, seed=seed)
    _draw(record, output.with_suffix(".png"))
    write_json(output, {"seed": seed, "resamples": resamples, **record})


def _draw(record: dict[str, Any], path: Path) -> None:
    """Persons on their first two components, and stability beside its null."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    FigureCanvasAgg(figure)
    plane, curve = figure.subplots(1, 2)
    found = record.get("persons", {})
    if "plane" in found:
        points = np.array(found["plane"])
        groups = found["chosen"]["labels"] if found["chosen"] else np.zeros(len(points))
        plane.scatter(*points.T, c=groups, cmap="tab10", s=18)
        for method in ("kmeans", "agglomerative"):
            rows = [one for one in found["clusterings"] if one["method"] == method]
            k = [one["k"] for one in rows]
            (line,) = curve.plot(k, [one["stability"] for one in rows], "o-", label=method)
            high = [one["null_high"] for one in rows]
            curve.plot(k, high, ":", color=line.get_color(), label="its null, 95 %")
        curve.legend(frameon=False, fontsize=7)
    plane.set(xlabel="component 1", ylabel="component 2", title=f"{found.get('n', 0)} persons")
    curve.set(xlabel="clusters", ylabel="adjusted Rand index", title="Stability")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
