"""What can be predicted without any signal: from age and sex, the design of a task, and earlier answers.

A method that reads signals and does not beat these floors has shown nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Num, Shaped
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 5
PENALTIES = np.logspace(-2, 6, 17)


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
