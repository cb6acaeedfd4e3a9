"""The shipped model's reading at once: right on worlds that are known, fast, and marked as what it is."""

import json
import time

import numpy as np
import pandas as pd
import pytest
import torch

from cldtrans.cli import main
from cldtrans.data.miniature.edf_writer import EdfSignal, write_edf
from cldtrans.errors import DataError
from cldtrans.lag import simulate_ldsem
from cldtrans.models.amortised import amortised_lags


@pytest.fixture(scope="module")
def world():
    return simulate_ldsem(
        8, 60.0, 90.0, window_s=60.0, edges_per_node=2.0, lag_range_s=(0.02, 0.08),
        self_dynamics="ar2", seed=3,
    )  # fmt: skip


def test_edges_and_lags_of_a_known_world_at_any_rate_and_unit(world):
    x = np.asarray(world.x)[0]
    found = amortised_lags(x, 90.0, 0.1)
    hits = found.support & world.support
    assert 2 * hits.sum() / (found.support.sum() + world.support.sum()) > 0.85
    assert np.median(np.abs(found.tau - world.tau)[hits]) * 90 < 0.2
    assert found.tau_max == 0.1 and not found.warnings
    other = amortised_lags(torch.from_numpy(1e-6 * x), 180.0, 0.1)
    np.testing.assert_allclose(other.tau[hits], found.tau[hits] / 2, atol=1e-6)
    np.testing.assert_allclose(other.weight[hits], found.weight[hits], rtol=1e-3)
    order = np.argsort(np.random.default_rng(0).random(8))
    turned = amortised_lags(x[order], 90.0, 0.1)
    np.testing.assert_allclose(turned.probability, found.probability[np.ix_(order, order)], atol=1e-4)


def test_lags_that_the_model_does_not_see_or_was_not_asked_for_are_said(world):
    x = np.asarray(world.x)[0]
    far = amortised_lags(x, 90.0, 1.0)
    assert far.tau_max == pytest.approx(48 / 90) and "sees lags up to 533.3 ms" in far.warnings[0]
    near = amortised_lags(x, 90.0, 0.04)
    assert np.nanmax(near.tau) <= 0.04 and "lags beyond 40 ms" in near.warnings[0]


def test_dependent_and_flat_channels_are_left_out(world):
    x = np.asarray(world.x)[0]
    found = amortised_lags(np.concatenate([x, x[:1] + x[1:2], 0 * x[:1]]), 90.0, 0.1)
    assert found.left_out == [8, 9] and not found.support[8:].any() and not found.support[:, 8:].any()
    np.testing.assert_allclose(found.probability[:8, :8], amortised_lags(x, 90.0, 0.1).probability, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((8, 200), r"200 samples \(2.22222 s\) are too few"), ((2, 8, 900), "expected .channels, samples.")],
)
def test_what_cannot_be_read_is_one_line(shape, message):
    with pytest.raises(DataError, match=message):
        amortised_lags(np.random.default_rng(0).normal(size=shape), 90.0, 0.1)


def test_a_minute_of_64_channels_takes_two_seconds():
    """Of processor time, which other work does not lengthen; the first call loads the model."""
    x = np.random.default_rng(0).laplace(size=(64, 5400))
    amortised_lags(x[:, :400], 90.0, 0.1)
    began = time.process_time()
    amortised_lags(x, 90.0, 0.1)
    assert time.process_time() - began < 2.0


def test_the_command_says_of_a_reading_that_it_is_no_fit(world, tmp_path, capsys):
    names = ["Fp1", "F7", "T7", "P7", "Fp2", "F8", "T8", "P8"]
    signals = [
        EdfSignal(name, 20 * x, 90, (-1000.0, 1000.0))
        for name, x in zip(names, np.asarray(world.x)[0], strict=True)
    ]
    write_edf(tmp_path / "r.edf", signals)
    out = tmp_path / "out"
    options = ["--fast", "--reference", "none", "--output", str(out)]
    assert main(["lags", str(tmp_path / "r.edf"), *options]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Nothing was fitted" in printed and "The fit takes" not in printed and "probability" in printed
    table = pd.read_csv(out / "lags.csv", comment="#")
    assert len(table) > 4 and "p_value" not in table and "lag" not in set(table["reading"])
    assert set(table["claim"]) == {"amortised"} and "amortised" in set(table["reading"])
    assert "above all: read by the pretrained model" in (out / "lags.csv").read_text()
    content = json.loads((out / "summary.json").read_text())
    assert content["estimator"] == "amortised" and "nothing was fitted" in content["settings"]["estimator"]
    text = (out / "lags.html").read_text()
    assert "A first look by the pretrained model, not a fit" in text and 'class="finding"' not in text
    assert {path.name for path in out.iterdir()} == {
        *("lags.html", "lags.csv", "delays.csv", "summary.json", "tau.png", "graph.png")
    }
