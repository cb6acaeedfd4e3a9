"""What can be predicted without any signal: from age and sex, the design of a task, and earlier answers.

A method that reads signals and does not beat these floors has shown nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Num, Shaped
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from cldtrans.data.shards import ShardSet
from cldtrans.errors import ConfigError
from cldtrans.methods.cards import Card
from cldtrans.methods.probes import probe_of
from cldtrans.methods.windows import LabelledWindows

FOLDS = 5
OLDEST = 90.0  # years; PTB-XL writes 300 for all beyond
PENALTIES = np.logspace(-2, 6, 17)
MOST_TRAINING_WINDOWS = 20_000
KNOTS = 6
QUALITY = ("flat", "clipped", "nan", "missing")  # counts of channels, columns of every index
PERSON = ("age", "sex")  # where the index has them


def ridge_floor(
    x: Num[np.ndarray, "n F"],
    y: Num[np.ndarray, " n"],
    subjects: Shaped[np.ndarray, " n"],
    held_out: Num[np.ndarray, "m F"],
) -> Float[np.ndarray, " m"]:
    """Predict held-out labels by ridge regression.

    Parameters
    ----------
    x : array [n, F]
        What is known of each training label; NaN stands for the training mean.
    y : array [n]
        Training labels.
    subjects : array [n]
        Whom each belongs to: the penalty among `PENALTIES` is that of the least squared
        error over `FOLDS` folds by subject.
    held_out : array [m, F]
        The same of the labels to be predicted.
    """
    model = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), Ridge())
    search = GridSearchCV(
        model, {"ridge__alpha": PENALTIES}, cv=GroupKFold(FOLDS), scoring="neg_mean_squared_error"
    )
    return search.fit(x, y, groups=subjects).predict(held_out)


def mean_of_earlier(y: Num[np.ndarray, " n"], belongs: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the mean of what came earlier, and nothing else; NaN for the first.

    Parameters
    ----------
    y : array [n]
        Labels in the order of time.
    belongs : array [n]
        Whom, or which run, each belongs to: others' labels are not looked at.
    """
    groups = pd.Series(np.asarray(y, dtype=float)).groupby(np.asarray(belongs))
    before = groups.cumcount().to_numpy()
    total = groups.cumsum().to_numpy() - y
    return np.divide(total, before, out=np.full(len(before), np.nan), where=before > 0)


class MetadataFloor:
    """The `classifier` factory: a linear probe on splines of what is known of a window without its signal.

    Of more than `MOST_TRAINING_WINDOWS` training windows it sees a draw.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    """

    card = Card(
        title="Metadata floor",
        source="ours",
        licence="MIT (ours)",
        reproduced="",
        differs="sees no signal: what it scores, a method has to beat",
    )

    def __init__(
        self, task: Any, channels: tuple[str, ...], sample_rate: float, modality: str, seed: int, threads: int
    ) -> None:
        self._probe, self._seed = probe_of(task.kind, task.classes), seed
        self._splines = make_pipeline(
            SimpleImputer(keep_empty_features=True),
            SplineTransformer(KNOTS, knots="uniform", extrapolation="linear"),
        )

    @property
    def parameters(self) -> int | None:
        """Number of fitted parameters; None before the fit."""
        return self._probe.parameters

    @property
    def notes(self) -> list[str]:
        """Remarks on the fit."""
        return self._probe.notes

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Fit the probe; validation windows choose its penalty."""
        drawn = np.arange(len(train))
        if len(drawn) > MOST_TRAINING_WINDOWS:
            rng = np.random.default_rng(self._seed)
            drawn = np.sort(rng.choice(drawn, MOST_TRAINING_WINDOWS, replace=False))
        known = known_of(train)[drawn]
        self._splines.fit(known)
        x = self._splines.transform(known)
        x_val = self._splines.transform(known_of(val)) if len(val) else x[:0]
        self._probe.fit(x, train.y[drawn], x_val, val.y)

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K]."""
        return self._probe.predict_proba(self._splines.transform(known_of(windows)))


class RidgeFloor:
    """The `classifier` factory of one floor of a regression: ridge regression on columns of the index.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    columns : sequence of str
        Of the index; none: the training mean.
    """

    card = Card(
        title="Ridge floor",
        source="ours",
        licence="MIT (ours)",
        reproduced="",
        differs="sees no signal: what it scores, a method has to beat",
    )

    def __init__(
        self,
        task: Any,
        channels: tuple[str, ...],
        sample_rate: float,
        modality: str,
        seed: int,
        threads: int,
        columns: Sequence[str] = (),
    ) -> None:
        if task.kind != "regression":
            raise ConfigError(f"a ridge floor predicts numbers; {task.name!r} asks for classes")
        self._columns = list(columns)

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Keep what is known of the training windows: folds over their subjects choose the penalty."""
        lacking = [name for name in self._columns if name not in train.shards.index]
        if lacking:
            raise ConfigError(f"a ridge floor on {', '.join(lacking)}: the index has no such column")
        self._x, self._y, self._subjects = self._table(train), train.y, train.subjects

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict the numbers [n, K]."""
        found = []
        for y in self._y.T:
            known = np.isfinite(y)
            few = len(np.unique(self._subjects[known])) < FOLDS
            if not self._columns or few:
                found.append(np.full(len(windows), y[known].mean()))
            else:
                fitted = self._x[known], y[known], self._subjects[known]
                found.append(ridge_floor(*fitted, self._table(windows)))
        return np.column_stack(found)

    def _table(self, windows: LabelledWindows) -> np.ndarray:
        rows = windows.shards.index.iloc[windows.rows]
        columns = [pd.to_numeric(rows[name], errors="coerce").to_numpy(float) for name in self._columns]
        return np.column_stack(columns) if columns else np.zeros((len(rows), 0))


def known_of(windows: LabelledWindows) -> Float[np.ndarray, "n F"]:
    """Return what is known of windows without looking at a sample, a row each; NaN where it is not."""
    return metadata(windows.shards).to_numpy()[windows.rows]


def metadata(windows: ShardSet) -> pd.DataFrame:
    """Return what is known of each window of a shard set without its signal.

    Returns
    -------
    DataFrame
        Aligned with the index: where the window begins in its recording, in seconds, from the first window,
        and as a part of the recording; length of the recording; number of valid channels, and counts of bad
        ones; age and sex where the index has them; what else the dataset tells of a window.
    """
    index = windows.index
    recording = index["recording"]
    ends = index["start_s"] + float(windows.meta["window_s"])
    length_s = ends.groupby(recording, observed=True).transform("max")
    begins = index["start_s"].groupby(recording, observed=True).transform("min")
    table = pd.DataFrame(
        {
            "start_s": index["start_s"],
            "since_first_window_s": index["start_s"] - begins,
            "part_of_recording": index["start_s"] / length_s,
            "recording_s": length_s,
            "valid_channels": windows.mask(np.arange(len(index))).sum(axis=1),
            **{name: index[name] for name in QUALITY},
        }
    )
    for name in PERSON:
        if name in index:
            number = pd.to_numeric(index[name], errors="coerce")
            table[name] = number if number.notna().any() else pd.factorize(index[name])[0]
    if "age" in table:
        table["age"] = table["age"].clip(upper=OLDEST)
    for name in windows.meta.get("told", []):
        table[name] = index[name]
    return table.astype(float)
