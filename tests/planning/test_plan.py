"""The plan of a config: its cells and files, and which settings each cell's hash covers."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from toys.paths import PROJECT

from cldtrans.config import Config, load_any, parse
from cldtrans.errors import ConfigError
from cldtrans.methods.cells import Cell, cell_settings
from cldtrans.planning.plan import Plan

PAPER, DEMO, TINY = (load_any([PROJECT / f"config/{name}.yaml"]) for name in ("config", "demo", "tiny"))


MARKS = {"zone_column": "soz", "zone_pattern": "1", "onset_pattern": "onset"}


@pytest.mark.parametrize("method", ["biot_gradient", "varlingam"])
def test_what_a_setting_names_is_part_of_a_jobs_code(method: str) -> None:
    named = {
        "biot_gradient": "cldtrans.baselines.borrowed.biot",
        "varlingam": "cldtrans.baselines.rivals.varlingam",
    }
    experiment = "planted" if method == "biot_gradient" else "identifiability"
    assert named[method] in Plan(PAPER).roots("focal-lead", None, method, experiment).executed


def changed(config: Config, **sections: Any) -> Config:
    """The config with some of its sections replaced; a function makes the new from the old."""
    settings = config.model_dump(mode="json")
    for name, value in sections.items():
        settings[name] = value(settings[name]) if callable(value) else value
    return parse(settings)


def leaves(settings: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every setting with the path of its keys; lists and empty mappings are settings."""
    if isinstance(settings, dict) and settings:
        for key, value in settings.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, settings


def other_values(path: tuple[str, ...], value: Any) -> Iterator[Any]:
    """Values that a setting could have instead, some of them valid."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield from (2 * value, value + 1, value / 2, 0.5, 0)
    elif isinstance(value, list):
        numbers = len(value) == 2 and isinstance(value[1], float)
        yield from (value[::-1], value[:-1], [value[0], value[1] * 0.9] if numbers else value[1:])
    elif value is None:
        yield from (7, "tiny", ["*"], "package.module:other", MARKS)
    elif value == {}:
        known = {"model": {"width": 8}, "stage1": {"mask_fraction": 0.5}, "folders": {"rivers": "tiny"}}
        yield known.get(path[-1], {"anything": 1})
    else:
        choices = ("window", "float16", "float32", "dopri5", "integer", "none", "cpu", "ode", "S", "heads")
        yield from (*choices, f"{value}2", "package.module:other")


def differing(config: Config) -> Iterator[tuple[str, Config]]:
    """(path, config) for each setting, with that one changed to another valid value."""
    settings = config.model_dump(mode="json")
    for path, value in leaves(settings):
        for other in other_values(path, value):
            if other == value:
                continue
            tried = deepcopy(settings)
            place = tried
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = other
            try:
                found = parse(tried)
            except ConfigError:
                continue
            if found != config:  # the order of blocks says nothing
                yield ".".join(path), found
                break
        else:
            pytest.fail(f"no other valid value of {'.'.join(path)} = {value!r} is known to this test")


PRETRAINING = ("model.", "stage1.", "loop.", "fft", "preprocess.eegmmidb.", "preprocess.mimic_ecg.")
PROBED = changed(PAPER, stage2=lambda section: section | {"finetune_steps": 0})
CELLS: dict[str, tuple[Config, Cell, tuple[str, ...]]] = {
    "fine-tuned": (
        PAPER,
        Cell("fewshot", "ptbxl", "cldtrans", "0.1", 42),
        (*PRETRAINING, "variants.cldtrans.", "stage2.finetune", "preprocess.ptbxl.", "search."),
    ),
    "probed": (
        PROBED,
        Cell("fewshot", "ptbxl", "cldtrans", "0.1", 42),
        (*PRETRAINING, "variants.cldtrans.", "stage2.finetune_steps", "preprocess.ptbxl."),
    ),
    "baseline": (
        PAPER,
        Cell("fewshot", "chbmit", "inception_time", "1.0", 7),
        (
            "preprocess.chbmit.",
            "methods.inception_time.classifier",
            "methods.inception_time.settings",
            "search.",
        ),
    ),
    "planted": (
        PAPER,
        Cell("planted", "chbmit", "cldtrans", "0", 42),
        (*PRETRAINING, "variants.cldtrans.", "preprocess.chbmit.", "planted."),
    ),
    "zeroshot": (
        PAPER,
        Cell("zeroshot", "chbmit", "gcc_phat", "0", 42),
        ("preprocess.chbmit.", "methods.gcc_phat.readout", "methods.gcc_phat.settings", "zeroshot.annot"),
    ),
    "zeroshot by region": (
        PAPER,
        Cell("zeroshot", "siena", "line_length", "0", 42),
        ("preprocess.siena.", "methods.line_length.readout", "methods.line_length.settings"),
    ),
    "zeroshot by zone": (
        PAPER,
        Cell("zeroshot", "ieeg", "gcc_phat", "0", 42),
        ("methods.gcc_phat.readout", "methods.gcc_phat.settings", "zeroshot.intracranial.ieeg."),
    ),
    "identifiability": (
        PAPER,
        Cell("identifiability", "short", "ldsem_student", "0", 0),
        (
            "identifiability.tau_max_s",
            "identifiability.worlds.short.",
            "methods.ldsem_student.estimator",
            "methods.ldsem_student.settings",
        ),
    ),
    "robustness": (
        PROBED,
        Cell("robustness", "sleepedf", "cldtrans", "1.0", 42),
        (*PRETRAINING, "variants.cldtrans.", "stage2.finetune_steps", "preprocess.sleepedf.", "robustness."),
    ),
}


@pytest.mark.parametrize("kind", CELLS)
def test_a_cells_hash_changes_with_the_settings_that_it_reads_and_with_no_other(kind: str) -> None:
    config, cell, reads = CELLS[kind]
    before = Plan(config).cell_sha256(cell)
    for path, other in differing(config):
        expected = path.startswith(reads) and not path.endswith((".batches", ".folder"))
        assert (Plan(other).cell_sha256(cell) != before) == expected, path


def test_a_setting_that_a_variant_overrides_is_not_one_that_it_reads() -> None:
    cell = Cell("fewshot", "ptbxl", "no-vq", "0.1", 42)
    other = changed(PAPER, model=lambda section: section | {"quantize": False})
    assert Plan(other).cell_sha256(cell) == Plan(PAPER).cell_sha256(cell)


def test_equal_cells_of_two_plans_have_equal_hashes() -> None:
    """Another run, source, number of jobs, and further experiments leave a cell as it is."""
    other = changed(
        DEMO,
        run="elsewhere",
        raw="another/folder",
        threads=5,
        source={"url": "s3://mirror", "endpoint": "https://here", "miniature": None, "allow_absent": True},
        preprocess=lambda all_: {name: one | {"batches": 2} for name, one in all_.items()},
        experiments=lambda blocks: [
            *blocks,
            blocks[0] | {"methods": ["gcc_phat"], "seeds": [1, 2]},
        ],
        stage2=lambda section: section | {"seeds": [1], "variants": []},
    )
    one, two = Plan(DEMO), Plan(other)
    shared = set(one.cells) & set(two.cells)
    assert shared == set(one.cells) and len(two.cells) > len(one.cells)
    for cell in shared:
        assert one.cell_sha256(cell) == two.cell_sha256(cell), cell


def test_a_cell_that_two_blocks_ask_for_is_one_file() -> None:
    twice = changed(TINY, experiments=lambda blocks: [*blocks, blocks[0] | {"target": "baselines"}])
    plan = Plan(twice)
    assert plan.results() == Plan(TINY).results()
    assert (
        len(set(plan.results()))
        == len(plan.results())
        == sum(count for rule, count in plan.jobs().items() if rule.startswith("score"))
    )
    assert set(plan.results("zeroshot")) < set(plan.results("baselines"))
    assert plan.results("robustness") == []


def test_names_of_files_are_those_that_users_type() -> None:
    plan = Plan(PAPER)
    assert "results/paper/fewshot/ptbxl/cldtrans/budget-0.01/seed-42.json" in plan.results("fewshot")
    assert "results/paper/checkpoints/stage1/no-vq/seed-256/model.safetensors" in plan.checkpoints(1)
    assert len(plan.checkpoints(2)) == 5
    assert plan.batches("mimic_ecg")[-1] == "data/paper/shards/mimic_ecg/parts/batch-199.json"


def test_other_divisions_have_files_of_their_own() -> None:
    plan = Plan(load_any([PROJECT / "config/loso.yaml"]))
    assert {cell.experiment for cell in plan.cells} == {"loso"}
    assert set(plan.splits()) == {f"data/loso/splits/chbmit/loso/seed-{s}.csv" for s in (42, 123, 7, 0, 256)}
    assert (plan.jobs()["divide_dataset"], plan.jobs()["split_dataset"]) == (5, 0)
    assert plan.split("ptbxl", 42, "robustness") == "data/loso/splits/ptbxl/seed-42.csv"
    assert "data/paper/splits/ptbxl/tenfold/seed-42.csv" in Plan(PAPER).splits()


def test_published_predictions_are_compared_where_the_user_has_them() -> None:
    assert Plan(PAPER).published() == []
    files = {"ptbxl": {"name": "theirs", "file": "p.csv"}, "mine": {"name": "x", "file": "y.csv"}}
    named = changed(PAPER, published=files)
    assert Plan(named).published() == ["results/paper/published/ptbxl.json"]
    assert len(Plan(named).compared("ptbxl")) == 5 * (3 + 5), "3 budgets, and 5 ablations with all labels"


def test_world_settings_of_a_cell_hold_the_default_of_the_largest_lag() -> None:
    cell = Cell("identifiability", "base", "ldsem", "0", 42)
    assert cell_settings(PAPER, cell)["world"]["tau_max_s"] == PAPER.identifiability.tau_max_s
