"""Metrics of predicted numbers against scikit-learn, scipy and arithmetic by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score, root_mean_squared_error

from cldtrans.scoring.regression import regression, resampled


@pytest.fixture
def windows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels around 1000, so that careless sums of squares show, of 40 subjects with 1 to 12 windows."""
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(40), rng.integers(1, 13, size=40))
    y = 1000 + rng.normal(size=40)[subjects] + rng.normal(size=len(subjects))
    return y, y + rng.normal(size=len(y)) - 0.3, subjects


def test_metrics_are_those_of_scikit_learn_and_scipy(windows):
    y, predicted, subjects = windows
    found = regression(y, predicted, subjects).metrics
    assert found["rmse"] == pytest.approx(root_mean_squared_error(y, predicted), abs=1e-9)
    assert found["nrmse"] == pytest.approx(np.sqrt(1 - r2_score(y, predicted)), abs=1e-9)
    assert found["pearson_r"] == pytest.approx(stats.pearsonr(y, predicted).statistic, abs=1e-9)


def test_a_subject_drawn_twice_counts_as_if_its_windows_were_there_twice(windows):
    y, predicted, subjects = windows
    weights = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), size=5).astype(float)
    found = resampled(y, predicted, subjects, weights)
    for row, drawn in enumerate(weights):
        windows_drawn = np.repeat(np.arange(len(y)), drawn[subjects].astype(int))
        truth, said = y[windows_drawn], predicted[windows_drawn]
        assert found["rmse"][row] == pytest.approx(root_mean_squared_error(truth, said), abs=1e-9)
        assert found["nrmse"][row] == pytest.approx(np.sqrt(1 - r2_score(truth, said)), abs=1e-9)
        assert found["pearson_r"][row] == pytest.approx(stats.pearsonr(truth, said).statistic, abs=1e-9)


def test_a_label_of_subjects_is_scored_once_a_subject():
    y, predicted = np.array([1.0, 1.0, 3.0, 5.0]), np.array([0.0, 4.0, 3.0, 4.0])
    found = regression(y, predicted, np.array(["a", "a", "b", "c"]), of_subjects=True)
    assert found.metrics["rmse"] == pytest.approx(np.sqrt((1 + 0 + 1) / 3))
    assert found.metrics["nrmse"] == pytest.approx(np.sqrt(2 / 3) / np.std([1, 3, 5]))
    assert found.metrics["pearson_r"] == pytest.approx(stats.pearsonr([1, 3, 5], [2, 3, 4]).statistic)
    assert found.chance == {"rmse": pytest.approx(np.std([1, 3, 5])), "nrmse": 1.0, "pearson_r": 0.0}
    with pytest.raises(ValueError, match="subject a: expected one label, found 1 and 3"):
        regression(y, predicted, np.array(["a", "b", "a", "c"]), of_subjects=True)


def test_what_is_undefined_has_a_reason():
    subjects = np.arange(6)
    constant = regression(np.arange(6.0), np.full(6, 0.1), subjects)
    assert constant.metrics["pearson_r"] is None
    assert constant.reasons["pearson_r"] == "all predictions are the same"
    assert "pearson_r" not in constant.ci95
    assert constant.metrics["nrmse"] == pytest.approx(
        np.sqrt(np.mean((np.arange(6) - 0.1) ** 2)) / np.std(range(6))
    )
    alike = regression(np.full(6, 0.1), np.arange(6.0), subjects)
    assert alike.metrics["nrmse"] is None
    assert alike.chance["nrmse"] is None
    assert alike.metrics["rmse"] is not None
    perfect = regression(np.arange(6.0), np.arange(6.0), subjects)
    assert perfect.metrics == {"rmse": 0.0, "nrmse": 0.0, "pearson_r": pytest.approx(1.0)}
    assert perfect.ci95["rmse"] is None
    assert regression(np.zeros(0), np.zeros(0), np.zeros(0)).metrics == dict.fromkeys(
        ("rmse", "nrmse", "pearson_r")
    )
    with pytest.raises(ValueError, match="1 of 2 predictions are not finite"):
        regression(np.zeros(2), np.array([0.0, np.nan]), np.arange(2))


def test_intervals_cover():
    """Of 100 simulated studies with 40 subjects, about 95 % hold the true RMSE and correlation."""
    rng = np.random.default_rng(0)
    truth = {"rmse": np.sqrt(1.5), "pearson_r": 1 / np.sqrt(2.5)}
    inside = dict.fromkeys(truth, 0)
    for study in range(100):
        y = rng.normal(size=40)
        subjects = np.repeat(np.arange(40), 3)
        predicted = y[subjects] + rng.normal(size=40)[subjects] + np.sqrt(0.5) * rng.normal(size=120)
        found = regression(y[subjects], predicted, subjects, seed=study).ci95
        for name, value in truth.items():
            low, high = found[name] or (np.nan, np.nan)
            inside[name] += low <= value <= high
    assert min(inside.values()) >= 88
    assert max(inside.values()) <= 99
