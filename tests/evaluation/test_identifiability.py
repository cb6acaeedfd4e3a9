"""Lag recovery: metrics by hand, chance, and cells of the experiment."""

import sys
from pathlib import Path

import numpy as np
import pytest
from toys.paths import PROJECT
from toys.shards import paper_config

from cldtrans.baselines import rivals
from cldtrans.baselines.rivals import PYTHON
from cldtrans.config import MethodConfig
from cldtrans.errors import ConfigError, DataError
from cldtrans.evaluation.identifiability import run_identifiability, score_lags
from cldtrans.methods.estimators import LagEstimate
from cldtrans.provenance import read_result


def truth(n=4):
    tau = np.full((n, n), np.nan)
    support = np.zeros((n, n), dtype=bool)
    for target, source, lag in ((0, 1, 0.05), (1, 2, 0.1), (2, 0, 0.02)):  # a cycle
        tau[target, source], support[target, source] = lag, True
    return tau, support


def test_scores_by_hand():
    tau, support = truth()
    found = support.copy()
    found[0, 1], found[3, 0] = False, True  # one missed, one false
    guess = np.where(found, 0.3, np.nan)
    guess[1, 2], guess[2, 0] = 0.1 + 0.004, 0.02 - 0.001
    bound = np.full((4, 4), 0.002)
    estimate = LagEstimate(guess, found, np.where(found, 0.0015, np.nan))
    scores = score_lags(tau, support, estimate, 100.0, bound)
    assert scores.metrics == pytest.approx(
        {
            "edge_precision": 2 / 3,
            "edge_recall": 2 / 3,
            "edge_f1": 2 / 3,
            "false_edges": 1.0,
            "tau_mae_samples": 0.25,
            "error_over_bound": np.sqrt((2**2 + 0.5**2) / 2),
            "coverage95": 0.5,
        }
    )
    assert scores.chance["edge_precision"] == 3 / 12


def test_chance_is_naming_every_pair():
    tau, support = truth()
    everything = ~np.eye(4, dtype=bool)
    scores = score_lags(
        tau, support, LagEstimate(np.where(everything, 0.1, np.nan), everything, None), 100.0, None
    )
    assert scores.metrics["edge_f1"] == pytest.approx(scores.chance["edge_f1"])
    assert scores.metrics["edge_precision"] == pytest.approx(scores.chance["edge_precision"])
    assert "no standard errors" in scores.reasons["coverage95"]
    assert "no Cramér-Rao bound" in scores.reasons["error_over_bound"]


def test_nothing_found_and_nothing_there():
    tau, support = truth()
    nothing = LagEstimate(np.full((4, 4), np.nan), np.zeros((4, 4), dtype=bool), None)
    scores = score_lags(tau, support, nothing, 100.0, None)
    assert scores.metrics["edge_f1"] == 0.0
    assert scores.metrics["tau_mae_samples"] is None
    empty = score_lags(nothing.tau, nothing.support, nothing, 100.0, None)
    assert empty.metrics["edge_f1"] is None
    assert empty.metrics["false_edges"] == 0.0


def test_a_transposed_estimate_scores_nothing():
    """Rows are targets: who swaps them finds no edge of this cycle."""
    tau, support = truth()
    assert (
        score_lags(tau, support, LagEstimate(tau.T, support.T, None), 100.0, None).metrics["edge_f1"] == 0.0
    )


def tiny_config():
    config = paper_config(
        identifiability={
            "tau_max_s": 0.1,
            "worlds": {
                "small": {
                    "n_channels": 4,
                    "duration_s": 60,
                    "lag_range_s": [0.01, 0.08],
                    "edges_per_node": 1,
                },
                "typo": {"n_chanels": 4},
            },
        }
    )
    methods = {
        "granger": MethodConfig(estimator="cldtrans.baselines.var_granger:VarGranger"),
        "pairs": MethodConfig(estimator="cldtrans.baselines.gcc_phat:GccPhatPairs"),
        "missing": MethodConfig(estimator="cldtrans.baselines.var_granger:VarGrangr"),
    }
    return config.model_copy(update={"methods": {**config.methods, **methods}})


@pytest.mark.parametrize("method", ["granger", "pairs"])
def test_cell(tmp_path, method):
    output = tmp_path / "seed-7.json"
    run_identifiability(tiny_config(), world="small", method=method, seed=7, output=output)
    record = read_result(output)
    assert record["metrics"]["edge_f1"] > record["chance"]["edge_f1"]
    assert record["metrics"]["tau_mae_samples"] < 1
    assert record["metrics"]["error_over_bound"] > 0.5
    assert record["metrics"]["coverage95"] is None
    again = run_identifiability(
        tiny_config(), world="small", method=method, seed=7, output=tmp_path / "b.json"
    )
    times = {"fit_s": 0.0}
    assert {**again["metrics"], **times} == {**record["metrics"], **times}


def test_ldsem_reaches_the_bound(tmp_path):
    config = tiny_config()
    methods = {**config.methods, "ours": MethodConfig(estimator="cldtrans.baselines.ldsem_estimator:Ldsem")}
    config = config.model_copy(update={"methods": methods})
    record = run_identifiability(config, world="small", method="ours", seed=7, output=tmp_path / "a.json")
    assert record["metrics"]["edge_f1"] == 1.0
    assert record["metrics"]["error_over_bound"] < 3
    assert record["metrics"]["coverage95"] is not None


def with_rival(tool, package="cldtrans.baselines.rivals", **settings):
    config = tiny_config()
    settings = {"script": f"{package}.{tool}", **settings}
    method = MethodConfig(estimator="cldtrans.baselines.rivals:Rival", settings=settings)
    return config.model_copy(update={"methods": {**config.methods, tool: method}})


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["varlingam", "pcmci_plus"])
def test_rivals_find_the_edges(tmp_path, tool):
    if not (PROJECT / PYTHON).exists():
        pytest.skip("no .venv-rivals: make setup-rivals")
    record = run_identifiability(
        with_rival(tool), world="small", method=tool, seed=7, output=tmp_path / "a.json"
    )
    assert record["metrics"]["edge_recall"] > 0.7
    assert record["metrics"]["tau_mae_samples"] < 0.6


def test_a_rival_that_is_absent_or_slow_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(rivals, "PYTHON", tmp_path / "nowhere")
    config = with_rival("varlingam")
    absent = run_identifiability(
        config, world="small", method="varlingam", seed=7, output=tmp_path / "a.json"
    )
    assert absent["metrics"]["edge_f1"] is None
    assert "make setup-rivals" in absent["reasons"]["edge_f1"]
    monkeypatch.setattr(rivals, "PYTHON", Path(sys.executable))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "bad_rivals").mkdir()
    (tmp_path / "bad_rivals/slow.py").write_text("import time; time.sleep(60)")
    (tmp_path / "bad_rivals/broken.py").write_text("raise ValueError('no such thing')")
    slow = run_identifiability(
        with_rival("slow", "bad_rivals", timeout_s=0.5),
        world="small",
        method="slow",
        seed=7,
        output=tmp_path / "b.json",
    )
    assert slow["reasons"]["tau_mae_samples"] == "timed out after 0.5 s"
    with pytest.raises(DataError, match="broken failed with code 1: ValueError: no such thing"):
        run_identifiability(
            with_rival("broken", "bad_rivals"),
            world="small",
            method="broken",
            seed=7,
            output=tmp_path / "c.json",
        )


@pytest.mark.parametrize(
    ("world", "method", "message"),
    [
        ("smal", "granger", "did you mean 'small'"),
        ("typo", "granger", "worlds.typo"),
        ("small", "missing", "did you mean 'VarGranger'"),
        ("small", "line_length", "has no estimator"),
        ("small", "cldtrans", "variant of the model"),
    ],
)
def test_errors_name_the_cause(tmp_path, world, method, message):
    with pytest.raises(ConfigError, match=message):
        run_identifiability(tiny_config(), world=world, method=method, seed=1, output=tmp_path / "a.json")
