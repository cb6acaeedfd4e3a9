"""What methods say of themselves: the page is up to date, sizes are the originals', plans can be built."""

import pytest
from baselines_page import PAGE, built, counted, published, registry, written
from toys.paths import PROJECT

from cldtrans.baselines.networks import NetworkClassifier
from cldtrans.config import load_any
from cldtrans.methods.factories import card_of, find

pytest.importorskip("linear_attention_transformer", reason="the extra baselines is not installed")

PAPER = load_any([PROJECT / "config" / "config.yaml"])
ENTRIES, WITHOUT = registry(PAPER)
NETWORKS = {entry.card.title: entry for entry in ENTRIES if entry.network is not None}


def without_ours(page):
    """The page without the column that a run fills, nor the widths that it asks for."""
    start = page.index("<!-- benchmark:published -->")
    end = page.index("<!-- /benchmark -->", start)
    rows = [row.split("|")[:-2] for row in page[start:end].splitlines() if not row.startswith("|-")]
    return page[:start], [[cell.strip() for cell in row] for row in rows], page[end:]


def test_the_page_is_what_the_code_says():
    page = PAGE.read_text()
    assert without_ours(written(page)) == without_ours(page), (
        "docs/baselines.md is older than the code: run python benchmarks/baselines_page.py --write"
    )


@pytest.mark.parametrize("title", [title for title, entry in NETWORKS.items() if entry.card.parameters])
def test_a_network_has_the_originals_size_or_says_why_not(title):
    entry = NETWORKS[title]
    found = counted(PAPER, entry)
    assert found is not None, "none of the datasets can be read"
    if not entry.card.counted:
        assert found[0] == pytest.approx(entry.card.parameters, rel=0.01)


def planned():
    """(dataset, method) of every network that the paper's plan asks for."""
    blocks = [block for block in PAPER.experiments if block.experiment == "fewshot"]
    pairs = {(dataset, method) for block in blocks for dataset in block.datasets for method in block.methods}
    known = [(dataset, method) for dataset, method in sorted(pairs) if method in PAPER.methods]
    return [(d, m) for d, m in known if issubclass(find(str(PAPER.methods[m].classifier)), NetworkClassifier)]


@pytest.mark.parametrize(("dataset", "method"), planned())
def test_what_the_plan_asks_for_can_be_built(dataset, method):
    found = PAPER.methods[method]
    network = built(PAPER, dataset, str(found.classifier), found.settings)
    assert sum(p.numel() for p in network.parameters()) > 1000


def test_a_readout_of_a_network_has_the_networks_card_and_a_rival_its_tools():
    readout, rival = PAPER.methods["labram_gradient"], PAPER.methods["pcmci_plus"]
    network = card_of(find(str(readout.readout)), readout.settings)
    tool = card_of(find(str(rival.estimator)), rival.settings)
    assert network is not None and network.title == "LaBraM-Base"
    assert tool is not None and tool.licence.startswith("GPL-3")


def test_published_figures_stand_beside_those_of_a_run(tmp_path):
    folder = tmp_path / "fewshot" / "chbmit" / "biot" / "budget-1.0"
    folder.mkdir(parents=True)
    for seed, value in ((42, 0.8), (7, 0.9)):
        record = f'{{"metrics": {{"auroc": {value}}}, "extra": {{"start": "from scratch"}}}}'
        (folder / f"seed-{seed}.json").write_text(record)
    table = published(ENTRIES, tmp_path)
    row = table[(table["method"] == "BIOT") & (table["metric"] == "AUROC")].iloc[0]
    assert row["ours"] == "0.850 (2 seeds, from scratch)"
    assert set(table["ours"]) == {"–", row["ours"]}
