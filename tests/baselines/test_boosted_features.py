"""Boosted trees on hand-made features."""

import numpy as np
from toys.windows import auroc, rhythms

from cldtrans.baselines.boosted_features import BoostedFeatures
from cldtrans.data.base import Task


def test_boosted_features_tell_rhythms_apart_and_keep_the_best_round():
    train, val, test = rhythms(80, 0), rhythms(40, 1), rhythms(60, 2)
    task = Task("toy", "binary", ("theta", "alpha"))
    model = BoostedFeatures(task, ("a", "b", "c"), 160.0, "eeg", 0, 1, rounds=20)
    model.fit(train, val)
    assert auroc(test, model.predict_proba(test)) > 0.95
    assert model._used in (10, 20)
    assert model.parameters and model.parameters > 0
    assert model.predict_proba(rhythms(0)).shape == (0, 2)


def test_labels_that_training_lacks_are_never_predicted():
    train, val = rhythms(40, 0), rhythms(20, 1)
    train.y, val.y = (np.stack([w.y, 0 * w.y], 1).astype(float) for w in (train, val))
    task = Task("toy", "multilabel", ("alpha", "none"))
    model = BoostedFeatures(task, ("a", "b", "c"), 160.0, "eeg", 0, 1, rounds=10)
    model.fit(train, val)
    assert (model.predict_proba(val)[:, 1] == 0).all()
