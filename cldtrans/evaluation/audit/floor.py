"""What the index alone tells of the labels: a task that it answers above chance is flagged in every table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import SplineTransformer

from cldtrans.data.base import SEVERAL
from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import split_rows
from cldtrans.evaluation.audit.finding import Finding
from cldtrans.methods.probes import probe_of
from cldtrans.scoring.metrics import PRIMARY, Scores, choose_thresholds, classification, unscored
from cldtrans.scoring.regression import regression_targets
from cldtrans.scoring.summary import LOWER_IS_BETTER

MOST_TRAINING_WINDOWS = 20_000
KNOTS = 6
PERSON = ("age", "sex")  # where the index has them


def metadata(windows: ShardSet) -> pd.DataFrame:
    """Return what is known of each window without its signal.

    Returns
    -------
    DataFrame
        Aligned with the index: start in the recording and as a part of it, length of the recording, number of
        valid channels, and counts of bad ones; age and sex where the index has them.
    """
    index = windows.index
    ends = index["start_s"] + float(windows.meta["window_s"])
    length_s = ends.groupby(index["recording"]).transform("max")
    begins = index.groupby("recording")["start_s"].transform("min")
    table = pd.DataFrame(
        {
            "start_s": index["start_s"],
            "since_first_window_s": index["start_s"] - begins,
            "part_of_recording": index["start_s"] / length_s,
            "recording_s": length_s,
            "valid_channels": windows.mask(np.arange(len(index))).sum(axis=1),
            **{name: index[name] for name in ("flat", "clipped", "nan", "missing")},
        }
    )
    for name in PERSON:
        if name in index:
            number = pd.to_numeric(index[name], errors="coerce")
            table[name] = number if number.notna().any() else pd.factorize(index[name])[0]
    return table.astype(float)


def metadata_floor(windows: ShardSet, split: Mapping[str, str], seed: int) -> Scores:
    """Score a logistic regression on splines of the metadata, fitted on training subjects.

    Its penalty and thresholds come from validation subjects, as those of every method.

    Parameters
    ----------
    windows : ShardSet
        With a task.
    split : mapping of str to str
        From `load_split`.
    seed : int
        Of the resampling of subjects, and of the draw of at most `MOST_TRAINING_WINDOWS`.
    """
    assert windows.task is not None
    kind, classes = windows.task.kind, windows.task.classes
    train, val, test = (split_rows(windows, split, part) for part in ("train", "val", "test"))
    if not len(train) or not len(test):
        return unscored(kind, classes, "no labelled training or test windows")
    if len(train) > MOST_TRAINING_WINDOWS:
        train = np.sort(np.random.default_rng(seed).choice(train, MOST_TRAINING_WINDOWS, replace=False))
    if kind not in SEVERAL and len(np.unique(windows.labels(train))) < 2:
        return unscored(kind, classes, "training windows hold one class")
    table = metadata(windows).to_numpy()
    splines = _splines().fit(table[train])
    x = {
        name: splines.transform(table[rows])
        for name, rows in (("train", train), ("val", val), ("test", test))
        if len(rows)
    }
    y = {name: windows.labels(rows) for name, rows in (("train", train), ("val", val), ("test", test))}
    no_val = np.zeros((0, x["train"].shape[1]))
    probe = probe_of(kind, classes)
    probe.fit(x["train"], y["train"], x.get("val", no_val), y["val"])
    subjects = windows.index["subject"].to_numpy()[test].astype(str)
    if kind == "regression":
        of_subjects = windows.task.of_subjects
        predicted = probe.predict_proba(x["test"])
        return regression_targets(classes, y["test"], predicted, subjects, of_subjects=of_subjects, seed=seed)
    thresholds = choose_thresholds(kind, y["val"], probe.predict_proba(x["val"])) if "val" in x else None
    return classification(
        kind, classes, y["test"], probe.predict_proba(x["test"]), subjects, thresholds, seed
    )


def _splines() -> Pipeline:
    return make_pipeline(
        SimpleImputer(keep_empty_features=True),
        SplineTransformer(KNOTS, knots="uniform", extrapolation="linear"),
    )


def floor_finding(of: str, kind: str, scores: Scores) -> Finding:
    """Flag a task whose metadata alone score above chance, its whole interval included."""
    name = PRIMARY[kind]
    value, chance, interval = scores.metrics.get(name), scores.chance.get(name), scores.ci95.get(name)
    expected = f"{name} of the metadata alone: an interval that does not lie above chance"
    if value is None or chance is None:
        return Finding("metadata floor", of, "not checked", expected, scores.reasons.get(name, "not scored"))
    if interval is None:
        found = f"{value:.3f}, chance {chance:.3f}, no interval"
        return Finding("metadata floor", of, "not checked", expected, found)
    found = f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}], chance {chance:.3f}"
    beats = interval[1] < chance if name in LOWER_IS_BETTER else interval[0] > chance
    return Finding("metadata floor", of, "flagged" if beats else "passed", expected, found)
