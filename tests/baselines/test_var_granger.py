"""Granger tests against the textbook, and their error rate."""

import numpy as np
import pytest
from scipy import stats

from cldtrans.baselines.var_granger import VarGranger, var_f_tests


def test_granger_f_is_the_textbook_f():
    """The F of one block equals that from residual sums of squares with and without the block."""
    rng = np.random.default_rng(0)
    x, order = rng.standard_normal((1, 3, 300)), 4
    x[0, 1, 2:] += 0.4 * x[0, 0, :-2]
    centred = x[0] - x[0].mean(axis=1, keepdims=True)
    columns = [centred[j, order - k : 300 - k] for j in range(3) for k in range(1, order + 1)]
    design, target = np.stack(columns, axis=1), centred[1, order:]

    def residual(part):
        return np.sum((target - part @ np.linalg.lstsq(part, target, rcond=None)[0]) ** 2)

    _, f_values, degrees = var_f_tests(x, order)
    full = residual(design)
    expected = (residual(design[:, order:]) - full) / order / (full / degrees)
    assert f_values[1, 0] == pytest.approx(expected, rel=1e-6)


def test_granger_p_values_are_uniform_without_edges():
    rng = np.random.default_rng(0)
    order, f_all = 3, []
    for _ in range(60):
        _, f_values, degrees = var_f_tests(rng.standard_normal((2, 4, 400)), order)
        f_all += f_values[~np.eye(4, dtype=bool)].tolist()
    assert stats.kstest(stats.f.sf(f_all, order, degrees), "uniform").pvalue > 1e-3


def test_granger_finds_a_known_edge_and_its_sign():
    rng = np.random.default_rng(0)
    x = rng.laplace(size=(3, 4, 2000))
    x[:, 2, 9:] += 0.5 * x[:, 0, :-9]
    found = VarGranger()(1e-6 * x, 100.0, 0.2)
    assert np.argwhere(found.support).tolist() == [[2, 0]]
    assert found.tau[2, 0] * 100 == pytest.approx(9, abs=0.5)
    with pytest.raises(ValueError, match="too few"):
        VarGranger()(x[:1, :, :50], 100.0, 0.2)
