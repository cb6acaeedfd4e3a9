"""Focal leads from estimators of lags: the one that drives most comes first."""

import numpy as np

from cldtrans.baselines.estimated_lead import EstimatedLead, drive
from cldtrans.baselines.magnitude import LargestVariance
from cldtrans.methods.estimators import LagEstimate
from cldtrans.methods.factories import card_of


def spreading(lags, rate_hz=90.0, n_samples=900, seed=0):
    """One source that arrives at each channel after so many samples, in noise."""
    rng = np.random.default_rng(seed)
    source = rng.standard_normal(n_samples + max(lags))
    most = max(lags)
    x = np.stack([source[most - lag : most - lag + n_samples] for lag in lags])
    return x + 0.5 * rng.standard_normal(x.shape)


def test_ranks_decide_and_sums_break_ties():
    score = np.array([[0, 9.0, 0.0], [1.0, 0, 0.0], [5.0, 5.0, 0]])  # row = target
    nothing = np.zeros((3, 3), bool)
    found = drive(LagEstimate(score, nothing, None, score=score))
    assert found.argsort().tolist() == [2, 0, 1]  # 1 drives 0 and 2; 0 drives 2
    edges = np.zeros((3, 3), bool)
    edges[[0, 2], 1] = True
    assert drive(LagEstimate(score, edges, None)).argmax() == 1
    assert len(set(drive(LagEstimate(score, nothing, None)))) == 1


def test_the_first_of_a_spread_leads_by_every_estimator():
    """By whole-sample regression, tests and phases alike; a channel that is masked is never named."""
    x = np.stack([spreading((4, 1, 7, 3)), spreading((2, 5, 0, 6), seed=1)])
    mask = np.ones((2, 4), bool)
    for name, settings in (
        ("var_granger:VarGranger", {}),
        ("phase_slope:PhaseSlope", {"segments": 10}),
        ("dynotears:Dynotears", {}),
    ):
        lead = EstimatedLead(f"cldtrans.baselines.{name}", tau_max_s=0.12, **settings)
        assert lead(x, mask, 90.0).argmax(1).tolist() == [1, 2], name
    mask[1, 2] = False
    found = EstimatedLead("cldtrans.baselines.var_granger:VarGranger", tau_max_s=0.12)(x, mask, 90.0)
    assert found[1].argmax() == 0
    assert found[1, 2] == -np.inf


def test_its_card_is_the_estimators():
    card = card_of(EstimatedLead, {"estimator": "cldtrans.baselines.rhino:Rhino", "steps": 3})
    assert card is not None and card.title == "Rhino"


def test_faster_windows_are_resampled():
    class Spy:
        def __call__(self, x, rate, tau_max_s, seed=0):
            self.saw = x.shape, rate
            return LagEstimate(np.zeros((2, 2)), np.zeros((2, 2), bool), None)

    lead = EstimatedLead("cldtrans.baselines.magnitude:Magnitude")
    lead._estimator = Spy()
    lead(np.zeros((1, 2, 1600)), np.ones((1, 2), bool), 160.0)
    assert lead._estimator.saw == ((1, 2, 900), 90.0)


def test_the_largest_variance_leads():
    x = np.random.default_rng(0).standard_normal((2, 3, 500)) * np.array([1, 3, 2])[:, None]
    mask = np.array([[True] * 3, [True, False, True]])
    assert LargestVariance()(x, mask, 100.0).argmax(1).tolist() == [1, 2]
