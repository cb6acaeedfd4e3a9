"""Controls of focal leads: the truth, its opposite, no opinion; with channels missing too."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from cldtrans.evaluation.cases import Case
from cldtrans.evaluation.focal_lead import grade_planted, grade_zones
from cldtrans.scoring.leads import TOPS, aggregate, hit, ranks

N_CHANNELS = 18
NAMES = tuple(f"c{k}" for k in range(N_CHANNELS))


def cases(scored, missing: int = 0, n: int = 60, truths: int = 1) -> list[Case]:
    """Cases of ten subjects: `scored` makes scores of the truth [C]; `missing` channels are not there."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(n):
        truth = set(rng.choice(N_CHANNELS, truths, replace=False).tolist())
        score = scored(np.isin(np.arange(N_CHANNELS), list(truth)).astype(float), rng)
        lost = rng.permutation([k for k in range(N_CHANNELS) if k not in truth])[:missing]
        score[lost] = -np.inf
        one = Case(f"s{number % 10}", f"r{number}", number, {"": score}, NAMES, 10.0, [truth])
        found.append(one)
    return found


@pytest.mark.parametrize("missing", [0, 5])
@pytest.mark.parametrize("truths", [1, 2])
def test_truth_opposite_and_no_opinion(missing, truths):
    oracle = grade_planted(cases(lambda truth, _: truth, missing, truths=truths))
    inverted = grade_planted(cases(lambda truth, _: -truth, missing, truths=truths))
    constant = grade_planted(cases(lambda truth, _: np.zeros(N_CHANNELS), missing, truths=truths))
    there = N_CHANNELS - missing
    for k in TOPS:
        by_hand = np.mean([any(c < truths for c in drawn) for drawn in combinations(range(there), k)])
        assert oracle.metrics[f"top{k}"] == 1.0
        assert inverted.metrics[f"top{k}"] == 0.0
        assert constant.metrics[f"top{k}"] == pytest.approx(by_hand, abs=1e-9)
        assert constant.chance[f"top{k}"] == pytest.approx(by_hand, abs=1e-9)
        assert (oracle.ci95[f"top{k}"] or [])[1:] == [1.0]


def test_random_scores_are_chance_within_the_interval():
    found = grade_planted(cases(lambda _, rng: rng.random(N_CHANNELS), missing=3, n=200))
    for k in TOPS:
        low, high = found.ci95[f"top{k}"] or (1.0, 0.0)
        assert low <= (found.chance[f"top{k}"] or 0.0) <= high


def test_the_zone_of_the_truth_its_opposite_and_no_opinion():
    for sign, value in ((1, 1.0), (-1, 0.0), (0, 0.5)):
        found = grade_zones(cases(lambda truth, _, sign=sign: sign * truth, missing=4, truths=3))
        assert found.metrics["zone_auroc"] == pytest.approx(value, abs=1e-12)


def test_a_seizure_that_no_window_shows_has_no_lead():
    """All channels masked in all windows, or no window at all: no evidence, no hit, and no error."""
    nothing = aggregate(np.zeros((3, 4)), np.zeros((3, 4), bool))
    assert (nothing == -np.inf).all()
    assert hit(nothing, {0}, 3) == 0.0
    assert (aggregate(np.zeros((0, 4)), np.zeros((0, 4), bool)) == -np.inf).all()
    assert np.isnan(ranks(np.zeros((1, 4)), np.eye(4, dtype=bool)[:1])).all(), "one channel has no rank"
    assert grade_planted([]).metrics == dict.fromkeys(f"top{k}" for k in TOPS)
    assert set(grade_planted([]).reasons) == {f"top{k}" for k in TOPS}
