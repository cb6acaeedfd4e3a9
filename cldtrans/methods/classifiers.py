"""Classifiers made from a factory's name: ours, one's own, or scikit-learn's as they are."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags

from cldtrans.data.base import Task
from cldtrans.errors import ConfigError
from cldtrans.methods.factories import find
from cldtrans.methods.windows import Classifier, LabelledWindows


def make(spec: str, about: dict[str, Any], settings: dict[str, Any]) -> Classifier:
    """Call a classifier's factory with what it asks for.

    Parameters
    ----------
    spec : str
        ``package.module:factory``.
    about : dict
        task, channels, sample_rate, modality, seed, threads, in this order. A factory whose parameters have
        these names gets those that it names; any other, all of them by position. One of scikit-learn gets its
        seed as `random_state` and its threads as `n_jobs`, where it has them.
    settings : dict
        Keyword arguments of the config.

    Raises
    ------
    ConfigError
        Where the factory does not take its settings, or what it returns cannot fit and predict.
    """
    factory = find(spec)
    given, by_position = dict(settings), ()
    names = _parameters(factory)
    if inspect.isclass(factory) and issubclass(factory, BaseEstimator) and "task" not in names:
        also = {"random_state": about["seed"]} | (
            {"n_jobs": about["threads"]} if about["threads"] > 1 else {}
        )
        given = {name: value for name, value in also.items() if name in names} | given
    elif _required(factory) <= {*about, *settings}:
        given = {name: value for name, value in about.items() if name in names} | given
    else:
        by_position = tuple(about.values())
    try:
        made = factory(*by_position, **given)
    except TypeError as error:
        raise ConfigError(f"method {spec!r} cannot be made: {error}") from error
    lacking = [name for name in ("fit", "predict_proba") if not callable(getattr(made, name, None))]
    if lacking:
        raise ConfigError(f"method {spec!r} has no {' and no '.join(lacking)}; a classifier needs both")
    return OfScikitLearn(made, about["task"]) if isinstance(made, BaseEstimator) else made


class OfScikitLearn:
    """A classifier of scikit-learn; windows are rows [n, C * T], or [n, C, T] where it takes those.

    Signals are microvolts or millivolts, zero where a channel is masked. Of several labels at once each has a
    copy of the classifier. Validation windows are not looked at.

    Parameters
    ----------
    estimator : classifier
        Not fitted.
    task : Task
        What is predicted.
    """

    def __init__(self, estimator: Any, task: Task) -> None:
        self._estimator, self._task = estimator, task
        self._fitted: list[tuple[Any, float]] = []  # and the constant, where training shows one class alone

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Fit on the labelled training windows."""
        x = self._rows(train)
        columns = train.y.T if self._task.kind == "multilabel" else train.y[None]
        self._fitted = []
        for y in columns:
            known = y >= 0
            classes = np.unique(y[known])
            model = clone(self._estimator).fit(x[known], y[known].astype(int)) if len(classes) > 1 else None
            self._fitted.append((model, float(classes[0]) if len(classes) else 0.0))

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K]; 0 for a class that training lacks."""
        x = self._rows(windows)
        if self._task.kind == "multilabel":
            return np.stack([self._columns(model, only, x, 2)[:, 1] for model, only in self._fitted], axis=1)
        return self._columns(*self._fitted[0], x, len(self._task.classes))

    def _columns(self, model: Any, only: float, x: np.ndarray, count: int) -> np.ndarray:
        found = np.zeros((len(x), count))
        if model is None:
            found[:, int(only)] = 1.0
        else:
            found[:, model.classes_.astype(int)] = model.predict_proba(x)
        return found

    def _rows(self, windows: LabelledWindows) -> np.ndarray:
        x = windows.signals()
        steps = getattr(self._estimator, "steps", None)  # a pipeline takes what its first step takes
        takes = get_tags(steps[0][1] if steps else self._estimator).input_tags
        return x if takes.three_d_array else x.reshape(len(x), -1)


def _parameters(factory: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(factory).parameters)
    except (TypeError, ValueError):  # some builtins have none
        return {}


def _required(factory: Any) -> set[str]:
    """Return the names of arguments that have to be given."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = _parameters(factory).items()
    return {name for name, one in found if one.default is one.empty and one.kind not in variable}
