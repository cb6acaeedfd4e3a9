"""The draft: one result changes what quotes it and nothing else; words follow the outcome; pages hold it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from compile_paper import compile_paper
from make_tables import make_tables
from paper_claims import against_chance, verdict
from paper_numbers import Numbers, macro_name
from write_paper import write_paper

from cldtrans.config import config_file, load_any
from cldtrans.provenance import read_result, write_result

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "workflow/report/paper"
ENGINE = shutil.which("pdflatex")
SUBJECTS = [f"s{k:02}" for k in range(12)]
CELLS: list[tuple[str, str, str, str, dict[str, float], dict[str, float]]] = [
    ("planted", "chbmit", "cldtrans", "0", {"top1": 0.9}, {"top1": 0.056}),
    ("planted", "chbmit", "gcc_phat", "0", {"top1": 0.6}, {"top1": 0.056}),
    ("planted", "chbmit", "no-lag", "0", {"top1": 0.1}, {"top1": 0.056}),
    ("zeroshot", "siena", "cldtrans", "0", {"lobe_accuracy": 0.7}, {"lobe_accuracy": 0.667}),
    ("fewshot", "ptbxl", "cldtrans", "0.1", {"macro_auroc": 0.8}, {"macro_auroc": 0.5}),
    ("fewshot", "ptbxl", "feature_linear", "0.1", {"macro_auroc": 0.85}, {"macro_auroc": 0.5}),
    ("identifiability", "base", "ldsem", "0", {"error_over_bound": 1.1, "edge_f1": 1.0}, {"edge_f1": 0.4}),
    (
        "robustness",
        "ptbxl",
        "cldtrans",
        "0.1",
        {"macro_auroc": 0.8, "macro_auroc@noise_10db": 0.7},
        {"macro_auroc": 0.5, "macro_auroc@noise_10db": 0.5},
    ),
]


def store(folder: Path, changed: dict[str, float] | None = None) -> list[dict[str, Any]]:
    """Write result files, and read them; `changed` are values of the planted cell of ours."""
    records = []
    for experiment, dataset, method, budget, metrics, chance in CELLS:
        values = (
            {**metrics, **(changed or {})} if (experiment, method) == ("planted", "cldtrans") else metrics
        )
        path = folder / experiment / dataset / method / f"budget-{budget}" / "seed-42.json"
        write_result(
            path,
            experiment=experiment,
            dataset=dataset,
            method=method,
            budget=budget,
            seed=42,
            metrics=dict(values),
            chance=dict(chance),
            ci95={name: [value - 0.04, value + 0.05] for name, value in values.items()},
            n={"train": 0, "val": 0, "test": 48, "subjects": {"train": 0, "val": 0, "test": 12}},
            config_sha256="0" * 64,
            wall_s=1.0,
            extra={
                "by_subject": {
                    name: {who: value + 0.002 * len(method) * (k - 5.5) for k, who in enumerate(SUBJECTS)}
                    for name, value in values.items()
                }
            },
        )
        record = read_result(path)
        records.append({**record, "peak_memory_bytes": 1 << 30})  # what varies from run to run
    return records


def draft(folder: Path, changed: dict[str, float] | None = None) -> dict[str, str]:
    """Write tables and draft; return their texts by path."""
    records = store(folder / "results", changed)
    datasets = pd.DataFrame(
        [
            {
                "dataset": "chbmit", "version": "1.0.0", "status": "ok", "files": 4, "gigabytes": 0.1,
                "subjects": 12, "recordings": 20, "quarantined": 0, "windows": 400, "channels": 18,
                "rate_hz": 160, "reason": None,
            },
            {"dataset": "siena", "version": "1.0.0", "status": "absent", "reason": "not in the mirror"},
        ]
    )  # fmt: skip
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    make_tables(
        records,
        datasets,
        {"ptbxl": "multilabel"},
        pd.DataFrame(columns=["dataset", "reason"]),
        ["gcc_phat", "feature_linear", "ldsem"],
        {"floors": [], "findings": [{"check": "channels", "of": "chbmit", "status": "passed"}]},
        {},
        [],
        {},
        folder / "tables",
    )
    config = load_any([config_file("demo")]).model_dump(mode="json")
    write_paper(folder / "tables", folder / "paper", config, TEMPLATES, [])
    files = [*(folder / "tables").iterdir(), *(folder / "paper").iterdir()]
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(files)}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return draft(tmp_path_factory.mktemp("before"))


def test_one_result_changes_text_and_tables_and_nothing_else(tmp_path: Path, before: dict[str, str]) -> None:
    after = draft(tmp_path, {"top1": 0.05})
    assert after.keys() == before.keys()
    changed = {path for path in before if before[path] != after[path]}
    stems = {path.rpartition(".")[0] for path in changed}
    assert stems == {
        "tables/planted", "tables/summary", "tables/headline", "tables/comparisons",
        "tables/ablations",
        "paper/paper", "paper/numbers", "paper/table-focal", "paper/table-ablations",
    }  # fmt: skip
    was, now = (draft["paper/paper.tex"].splitlines() for draft in (before, after))
    assert len(was) == len(now)  # words within the same sentences
    for old, new in zip(was, now, strict=True):
        assert old == new or "planted" in old.lower() or "comparisons" in old, old
    assert before["paper/numbers.tex"] != after["paper/numbers.tex"]
    assert "above chance" in next(line for line in was if line.startswith("Asked without") or "Asked" in line)
    assert "not told apart from chance" in next(line for line in now if "Asked" in line)


def test_the_same_results_are_the_same_draft(tmp_path: Path, before: dict[str, str]) -> None:
    assert draft(tmp_path) == before


def test_every_number_of_a_sentence_is_a_macro_from_the_tables(before: dict[str, str]) -> None:
    sentence = next(line for line in before["paper/paper.tex"].splitlines() if "Asked without" in line)
    assert r"\PlantedChbmitCldtransZeroTopOneMean{}" in sentence
    assert "0.9" not in sentence
    assert r"\newcommand{\PlantedChbmitCldtransZeroTopOneMean}{0.900}" in before["paper/numbers.tex"]


def test_the_best_of_a_column_is_bold_and_a_loss_is_told(before: dict[str, str]) -> None:
    table = before["paper/table-fewshot.tex"]
    assert r"\textbf{0.850}" in table
    assert r"\textbf{0.800}" not in table
    focal = before["paper/table-focal.tex"]
    assert r"\textbf{0.900}" in focal
    assert "does worse than Features + linear" in before["paper/paper.md"]
    assert "Siena: not in the mirror" in before["paper/paper.md"].replace("siena", "Siena")


def test_words_follow_the_interval() -> None:
    row = {"metric": "auroc", "chance": 0.5, "floor": float("nan"), "ci_low": 0.6, "ci_high": 0.7}
    assert against_chance(pd.Series(row)) == ", above chance"
    assert against_chance(pd.Series({**row, "ci_low": 0.4})) == ", not told apart from chance"
    assert (
        against_chance(pd.Series({**row, "floor": 0.65})) == ", not told apart from what metadata alone score"
    )
    assert against_chance(pd.Series({**row, "ci_high": 0.45, "ci_low": 0.4})) == ", below chance"
    difference = pd.Series({"metric": "auroc", "low": 0.01, "high": 0.2})
    assert verdict(difference) == "better"
    assert verdict(pd.Series({**difference, "metric": "error_over_bound"})) == "worse"
    assert verdict(pd.Series({**difference, "low": -0.1})) == "level"
    assert verdict(pd.Series({**difference, "low": float("nan")})) == "unknown"


def test_numbers_with_one_name_and_two_values_are_refused() -> None:
    number = Numbers()
    number("a/1", "0.5")
    assert macro_name("a/1") == "AOne"
    with pytest.raises(ValueError, match="but a/1 is"):
        number("a-1", "0.6")


def test_every_work_cited_is_in_the_bibliography_and_the_other_way_round() -> None:
    import re

    text = (TEMPLATES / "paper.tex.jinja").read_text()
    cited = {key for group in re.findall(r"\\cite[a-z]*\{([^}]+)\}", text) for key in group.split(",")}
    listed = set(re.findall(r"^@\w+\{(\w+),", (TEMPLATES / "references.bib").read_text(), re.MULTILINE))
    assert cited == listed


@pytest.mark.skipif(ENGINE is None, reason="no pdflatex on this machine")
def test_the_pdf_has_every_reference_and_nothing_off_the_page(tmp_path: Path) -> None:
    draft(tmp_path)
    made = [compile_paper(tmp_path / "paper/paper.tex", tmp_path / f"{k}.pdf", ENGINE) for k in range(2)]
    assert made[0]["status"] == "compiled"
    assert made[0]["undefined"] == []
    assert made[0]["overfull_pt"] == 0
    assert made[0]["pages"] > 5
    assert (tmp_path / "0.pdf").read_bytes() == (tmp_path / "1.pdf").read_bytes()
    (tmp_path / "paper/data.tex").write_text(r"\undefinedmacro")
    with pytest.raises(RuntimeError, match="Undefined control sequence"):
        compile_paper(tmp_path / "paper/paper.tex", tmp_path / "bad.pdf", ENGINE)


def test_without_a_tex_the_reason_stands_where_the_pdf_would(tmp_path: Path) -> None:
    old = tmp_path / "paper.pdf"
    old.write_text("of an older draft")
    made = compile_paper(tmp_path / "paper.tex", old, None)
    assert (made["status"], old.exists()) == ("skipped", False)
    assert "texlive" in str(made["reason"])
    json.dumps(made)
