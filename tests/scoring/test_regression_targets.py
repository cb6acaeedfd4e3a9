"""Several numbers at once, with gaps, and the ridge probe that predicts them; against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from cldtrans.methods.probes import NumberProbe
from cldtrans.scoring.regression import METRICS, mean_over_targets, regression, regression_targets


def drawn(n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    subjects = np.array([f"s{k % 12:02d}" for k in range(n)])
    of_subject = rng.standard_normal((12, 3))
    y = of_subject[np.arange(n) % 12]
    y[np.arange(n) % 12 == 4, 1] = np.nan  # not known of one subject
    return y, y + rng.standard_normal((n, 3)) + np.where(np.isnan(y), 0, 0), subjects


@pytest.mark.parametrize("of_subjects", [False, True])
def test_the_mean_is_that_of_each_number_by_itself(of_subjects: bool) -> None:
    y, predicted, subjects = drawn()
    predicted = np.where(np.isnan(predicted), 0.0, predicted)
    found = regression_targets(("a", "b", "c"), y, predicted, subjects, of_subjects=of_subjects)
    for metric in METRICS:
        alone = []
        for k, name in enumerate("abc"):
            known = np.isfinite(y[:, k])
            one = regression(y[known, k], predicted[known, k], subjects[known], of_subjects=of_subjects)
            assert found.metrics[f"{metric}_{name}"] == one.metrics[metric]
            alone.append(one.metrics[metric] or 0.0)
        value, ends = found.metrics[metric], found.ci95[metric]
        assert value == pytest.approx(np.mean(alone))
        assert value is not None and ends is not None and ends[0] < value < ends[1]
    assert found.chance["nrmse"] == 1.0 and found.chance["pearson_r"] == 0.0


def test_one_number_carries_no_name_and_weights_repeat_subjects() -> None:
    y, predicted, subjects = drawn()
    found = regression_targets(("a",), y[:, :1], predicted[:, :1], subjects)
    assert set(found.metrics) == set(METRICS)
    names, position = np.unique(subjects, return_inverse=True)
    weights = np.random.default_rng(1).integers(0, 3, (1, len(names)))
    rows = np.repeat(np.arange(len(y)), weights[0, position])
    values = mean_over_targets(y[:, :1], predicted[:, :1], position, weights, False)
    again = regression(y[rows, 0], predicted[rows, 0], subjects[rows])
    assert {k: pytest.approx(v[0]) for k, v in values.items()} == again.metrics


def test_the_probe_is_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 6)) * [1, 2, 3, 1, 1, 0] + 5
    slope = rng.standard_normal((6, 2))
    y = x @ slope + 0.5 * rng.standard_normal((80, 2))
    y[::7, 1] = np.nan
    probe = NumberProbe(("a", "b"))
    probe.fit(x[:50], y[:50], x[50:], y[50:])
    z = (x - x[:50].mean(0)) / np.where(x[:50].std(0) > 1e-6, x[:50].std(0), np.inf)
    for k in range(2):
        known = np.flatnonzero(np.isfinite(y[:50, k]))
        expected = Ridge(alpha=probe.penalty * len(known)).fit(z[known], y[known, k]).predict(z)
        np.testing.assert_allclose(probe.predict_proba(x)[:, k], expected, rtol=1e-6)
    assert probe.parameters == 2 * 7
