"""The search over rates: what validation prefers is kept, at the same price for all."""

import numpy as np
import pytest
from toys.windows import rhythms

from cldtrans.data.base import Task
from cldtrans.methods.search import fitted

TASK = Task("toy", "binary", ("theta", "alpha"))


class Classifier:
    """Knows the answer of windows in the measure of its rate; at 3 times its own it is right throughout."""

    has_rate = True

    def __init__(self, rate=0.1):
        self.rate, self.notes, self.fits = rate, [], 0

    def at_rate(self, factor):
        return Classifier(factor * self.rate)

    def fit(self, train, val):
        self.fits += 1
        self.train = train

    def predict_proba(self, windows):
        noise = np.random.default_rng(0).standard_normal(len(windows))
        right = np.where(np.isclose(self.rate, 0.3), windows.y + 1e-3 * noise, noise)
        return np.stack([1 - right, right], axis=1)


def test_the_best_on_validation_is_kept_and_says_so():
    train, val = rhythms(10, 0, 32), rhythms(20, 1, 32)
    start = Classifier()
    found = fitted(start, TASK, [0.3, 3.0], train, val)
    assert found.rate == pytest.approx(0.3)
    assert (found.fits, start.fits) == (1, 0)
    assert found.train is train
    assert found.notes == ["rate: 3 times the configured one, of 3 tried on validation"]


def test_one_rate_or_none_is_a_plain_fit():
    train, val = rhythms(10, 0, 32), rhythms(20, 1, 32)
    start = Classifier()
    assert fitted(start, TASK, [], train, val) is start and start.fits == 1
    start.has_rate = False
    assert fitted(start, TASK, [3.0], train, val) is start and start.fits == 2


def test_without_a_validation_that_tells_the_configured_rate_is_kept():
    train, val = rhythms(10, 0, 32), rhythms(20, 1, 32)
    val.y[:] = 0
    found = fitted(Classifier(), TASK, [0.3, 3.0], train, val)
    assert found.rate == pytest.approx(0.1)
    assert "the rate as configured" in found.notes[0]


def test_networks_trees_and_our_model_are_searched_alike():
    from cldtrans.baselines.boosted_features import BoostedFeatures
    from cldtrans.baselines.inception_time import InceptionTime
    from cldtrans.baselines.networks import Recipe
    from cldtrans.methods.search import LOOKS, PATIENCE, Rated
    from cldtrans.training.finetuned import FineTuned

    about = (TASK, ("a", "b", "c"), 80.0, "eeg", 5, 1)
    network = InceptionTime(*about, ensemble=1, learning_rate=0.02)
    tried = network.at_rate(0.5)
    assert (tried.recipe.learning_rate, network.recipe.learning_rate) == (0.01, 0.02)
    assert tried.notes is not network.notes
    trees = BoostedFeatures(*about)
    assert trees.at_rate(0.5)._learning_rate == pytest.approx(0.05)
    assert isinstance(network, Rated) and isinstance(trees, Rated)
    assert {"at_rate", "has_rate"} <= set(vars(FineTuned))
    assert Recipe(steps=500).between_looks * LOOKS == 500
    assert Recipe().patience == PATIENCE
