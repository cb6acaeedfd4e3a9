"""Methods with a strategy, a variant or a start: what a config may say, and what a cell of theirs reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toys.fewshot import arguments, staged
from toys.shards import paper_config

from cldtrans.config import Config, parse
from cldtrans.errors import ConfigError
from cldtrans.evaluation.fewshot import run_fewshot
from cldtrans.methods.cells import Cell, cell_settings

PATCHES = "cldtrans.baselines.patch_transformer:PatchClassifier"
SHORT = {"width": 16, "heads": 2, "layers": 1, "steps": 2, "batch_size": 8}


def with_methods(**methods: dict[str, Any]) -> Config:
    settings = paper_config().model_dump(mode="json")
    settings["methods"] |= methods
    settings["experiments"][0]["methods"] = [*settings["experiments"][0]["methods"], *methods]
    return parse(settings)


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ({"variant": "cldtrans", "classifier": PATCHES}, "not both"),
        ({"variant": "cldtranz"}, "unknown name 'cldtranz'"),
        ({"variant": "cldtrans", "settings": {"steps": 3}}, "unknown name 'steps'"),
        ({"readout": "a:b", "finetune": {"strategy": "full"}}, "expected a classifier or a variant"),
        ({"classifier": PATCHES, "finetune": {"strategy": "fussion"}}, "strategy"),
        ({"classifier": PATCHES, "start": {"method": "nobody", "dataset": "ptbxl"}}, "unknown name 'nobody'"),
    ],
)
def test_a_method_that_makes_no_sense_is_refused(method: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        with_methods(mine=method)


def test_a_cell_reads_its_strategy_its_variant_and_what_it_starts_from() -> None:
    start = {"method": "before", "dataset": "ptbxl"}
    config = with_methods(
        before={"classifier": PATCHES, "settings": {"steps": 7}},
        after={"classifier": PATCHES, "start": start, "finetune": {"strategy": "lora", "rank": 4}},
        ours={"variant": "cldtrans", "settings": {"finetune_steps": 9}, "finetune": {"strategy": "head"}},
        plain={"classifier": PATCHES},
    )
    found = {
        name: cell_settings(config, Cell("fewshot", "ptbxl", name, "0.1", 42))
        for name in ("before", "after", "ours", "plain")
    }
    assert found["after"]["strategy"]["rank"] == 4
    assert found["after"]["start"]["settings"] == {"steps": 7}
    assert found["ours"]["finetune"]["finetune_steps"] == 9 and "model" in found["ours"]
    assert "strategy" not in found["plain"] and "start" not in found["plain"]
    assert config.variant_of("ours") == "cldtrans" and config.variant_of("plain") is None
    assert config.finetuned("ours").stage2.finetune_steps == 9


def test_a_strategy_is_scored_with_its_costs_and_refused_without_a_network(tmp_path: Path) -> None:
    staged(tmp_path)
    config = with_methods(
        tuned={
            "classifier": PATCHES,
            "settings": SHORT,
            "finetune": {"strategy": "fusion", "micro_batch": 4},
        },
        linear={
            "classifier": "cldtrans.baselines.feature_linear:FeatureLinear",
            "finetune": {"strategy": "head"},
        },
    )
    record = run_fewshot(config, **arguments(tmp_path, method="tuned"))
    costs = record["extra"]["costs"]
    assert costs["strategy"] == "fusion" and 0 < costs["step_saved_bytes"] < 1e7
    assert costs["trained_parameters"] == record["parameters"] == costs["model_bytes"] / 4
    with pytest.raises(ConfigError, match="trains no network"):
        run_fewshot(config, **arguments(tmp_path, method="linear"))
