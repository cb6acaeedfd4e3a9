"""A classifier needs fit and predict_proba; scikit-learn's are taken as they are."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from toys.windows import rhythms

from cldtrans.data.base import Task
from cldtrans.errors import ConfigError
from cldtrans.methods.classifiers import OfScikitLearn, make

BINARY = Task("t", "binary", ("a", "b"))
ABOUT = {
    "task": BINARY,
    "channels": ("C3",),
    "sample_rate": 160.0,
    "modality": "eeg",
    "seed": 3,
    "threads": 1,
}


class Own:
    given: Any

    def __init__(self, seed, strength=1.0):
        self.given = {"seed": seed, "strength": strength}

    def fit(self, train, val): ...

    def predict_proba(self, windows): ...


class ByPosition(Own):
    def __init__(self, what, names, rate, kind, number, n_jobs, strength=1.0):
        self.given = (what, names, rate, kind, number, n_jobs, strength)


class Half:
    def fit(self, train, val): ...


def pipeline(modality):
    return make_pipeline(LogisticRegression())


@pytest.mark.parametrize(
    ("name", "settings", "given"),
    [("Own", {}, {"seed": 3, "strength": 1.0}), ("Own", {"strength": 2}, {"seed": 3, "strength": 2}),
     ("ByPosition", {"strength": 2}, (*ABOUT.values(), 2))],
)  # fmt: skip
def test_a_factory_gets_what_it_asks_for(name, settings, given):
    found: Any = make(f"{__name__}:{name}", ABOUT, settings)
    assert found.given == given


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        ("Half", {}, "has no predict_proba; a classifier needs both"),
        ("Own", {"width": 1}, "unexpected keyword"),
    ],
)
def test_what_cannot_be_a_classifier_is_refused(spec, settings, message):
    with pytest.raises(ConfigError, match=message):
        make(f"{__name__}:{spec}", ABOUT, settings)


def test_scikit_learns_get_seed_and_threads():
    spec, about = "sklearn.ensemble:RandomForestClassifier", ABOUT | {"threads": 2}
    forest: Any = make(spec, about, {"n_estimators": 7})
    settings = forest._estimator.get_params()
    assert (settings["n_estimators"], settings["random_state"], settings["n_jobs"]) == (7, 3, 2)
    assert isinstance(make(f"{__name__}:pipeline", ABOUT, {}), OfScikitLearn)


def test_scikit_learns_predictions_are_its_own():
    train, test = rhythms(40), rhythms(10, seed=1)
    ours = make("sklearn.linear_model:LogisticRegression", ABOUT, {"C": 0.1})
    ours.fit(train, test)
    direct = LogisticRegression(C=0.1, random_state=3).fit(train._x.reshape(40, -1), train.y)
    np.testing.assert_allclose(ours.predict_proba(test), direct.predict_proba(test._x.reshape(10, -1)))


def test_classes_that_training_lacks_have_their_column():
    train, task = rhythms(40), Task("t", "multiclass", ("a", "b", "c", "d"))
    train.y = np.where(train.y == 1, 3, np.arange(40) % 2 - 1)  # -1: not labelled
    found = OfScikitLearn(LogisticRegression(), task)
    found.fit(train, train)
    proba = found.predict_proba(train)
    assert proba.shape == (40, 4) and not proba[:, 1:3].any()
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_each_of_several_labels_has_a_classifier():
    train, task = rhythms(40), Task("t", "multilabel", ("a", "b", "c"))
    train.y = np.stack([train.y, 1 - train.y, np.ones(40)], axis=1)
    train.y[:5, 0] = -1
    found = OfScikitLearn(LogisticRegression(), task)
    found.fit(train, train)
    proba = found.predict_proba(train)
    assert proba.shape == (40, 3) and (proba[:, 2] == 1).all()
    assert ((proba[5:, 0] > 0.5) == (train.y[5:, 0] == 1)).all()
