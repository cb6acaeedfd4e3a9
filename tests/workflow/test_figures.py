"""Figures hold what they show: looks tell methods apart, nothing lies across something else or is cut off."""

from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import plot_cost
import plot_fewshot
import pytest
from matplotlib.figure import Figure
from plot_style import looks

DATASETS = tuple(f"dataset-{k}" for k in range(7))
METHODS = ("cldtrans", *(f"a method of some name {k}" for k in range(13)))


@pytest.fixture
def drawn(monkeypatch):
    """Figures as they are when they are saved."""
    found: list[Figure] = []
    for module in (plot_fewshot, plot_cost):
        monkeypatch.setattr(module, "save", lambda figure, *_: found.append(figure))
    yield found
    plt.close("all")


def scores() -> pd.DataFrame:
    rows = [
        {"dataset": dataset, "method": method, "budget": budget, "n_subjects": 41}
        for dataset in DATASETS
        for method in METHODS
        for budget in ("0.1", "1.0")
    ]
    shown = {"experiment": "fewshot", "metric": "macro_auroc", "primary": True, "reason": None}
    return pd.DataFrame(rows).assign(**shown, mean=0.8, ci_low=0.7, ci_high=0.9, chance=0.5)


def costs(table: pd.DataFrame) -> pd.DataFrame:
    found = table[["experiment", "dataset", "method", "budget"]].assign(parameters=1e4, wall_s=3.0)
    found.loc[found["method"] == METHODS[-1], "parameters"] = 0  # a constant
    return found


def hold(figure: Figure) -> None:
    """Check that legend and titles lie inside of the figure, and labels of panels side by side apart."""
    figure.canvas.draw()
    whole = figure.bbox
    for one in (*figure.legends, *(panel.title for panel in figure.axes)):
        box = one.get_window_extent()
        assert box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1, one
    shown = [panel for panel in figure.axes if panel.axison]
    for what in ("title", "label"):
        texts = [panel.title if what == "title" else panel.xaxis.label for panel in shown]
        boxes = [text.get_window_extent() for text in texts]
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2)), what


def test_twenty_methods_look_different_without_a_line():
    found = [(look["color"], look["marker"]) for look in looks(map(str, range(20))).values()]
    assert len(set(found)) == 20


def test_many_datasets_find_room_for_few_labels(drawn, tmp_path: Path):
    plot_fewshot.plot_fewshot(scores(), set(), str(tmp_path / "f.png"))
    hold(drawn[0])


@pytest.mark.filterwarnings("error")
def test_costs_of_many_methods_find_room_and_a_constant_has_no_place(drawn, tmp_path: Path):
    table = scores()
    plot_cost.plot_cost(costs(table), table, str(tmp_path / "c.png"))
    hold(drawn[0])
