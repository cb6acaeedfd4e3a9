"""The parts of the model and what passes between them, with the sizes of this run."""

import json
from pathlib import Path
from typing import Any

from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from plot_style import FULL, begin, new_figure, save

Box = tuple[float, float, str, str, str]
FILLS = {"data": "#f2f2f2", "motif": "#dbe9f6", "lag": "#fde5cc", "state": "#dcefdc", "out": "#eadcf0"}
WIDE, TALL = 1.08, 0.68  # of a box


def boxes(model: dict[str, Any]) -> dict[str, Box]:
    """Return place (x, y), kind, title and text of each part.

    Parameters
    ----------
    model : dict
        Resolved settings of the network.
    """
    codes = f"{model['codebook_size']} entries" if model["quantize"] else "no codebook"
    lag = {"continuous": "continuous lags", "integer": "whole samples", "none": "no lags"}[model["lag"]]
    state = model["solver"] if model["dynamics"] == "ode" else "none"
    return {
        "x": (0.0, 0.9, "data", "window", "channels\n× samples"),
        "motifs": (1.36, 1.55, "motif", "motifs", f"{codes}\nwidth {model['width']}"),
        "lags": (1.36, 0.25, "lag", "lags, edges", f"τ and p\n{lag}"),
        "ode": (2.72, 0.9, "state", "graph ODE", f"solver: {state}\nsources: {model['sources']}"),
        "context": (4.08, 0.9, "state", "attention", f"at the lags\nlayers: {model['layers']}"),
        "decoder": (5.44, 1.8, "out", "decoder", "waveform,\nhidden spans"),
        "heads": (5.44, 0.9, "out", "heads", "labels of\nany task"),
        "lead": (5.44, 0.0, "out", "who leads", "τ with errors,\nposterior"),
    }


ARROWS = (
    ("x", "motifs"),
    ("x", "lags"),
    ("motifs", "ode"),
    ("lags", "ode"),
    ("ode", "context"),
    ("context", "decoder"),
    ("context", "heads"),
    ("lags", "lead"),
)


def plot_architecture(model: dict[str, Any], *paths: str) -> None:
    """Draw the parts as boxes, from the signals at the left to what is asked at the right."""
    figure, panels = new_figure(width=FULL, height=2.1)
    panel, parts = panels[0], boxes(model)
    for x, y, kind, title, text in parts.values():
        panel.add_patch(
            FancyBboxPatch(
                (x, y),
                WIDE,
                TALL,
                boxstyle="round,pad=0.03",
                facecolor=FILLS[kind],
                edgecolor="0.35",
                linewidth=0.6,
            )
        )
        panel.text(x + WIDE / 2, y + 0.53, title, ha="center", va="center", fontsize=7.5, weight="bold")
        panel.text(x + WIDE / 2, y + 0.22, text, ha="center", va="center", fontsize=6.2, linespacing=1.15)
    for source, target in ARROWS:
        x, y, *_ = parts[source]
        to_x, to_y, *_ = parts[target]
        panel.add_patch(
            FancyArrowPatch(
                (x + WIDE + 0.03, y + TALL / 2),
                (to_x - 0.03, to_y + TALL / 2),
                arrowstyle="-|>",
                mutation_scale=7,
                color="0.35",
                linewidth=0.8,
                connectionstyle="arc3,rad=0.0",
            )
        )
    panel.set_xlim(-0.08, 6.6)
    panel.set_ylim(-0.1, 2.6)
    panel.set_axis_off()
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_architecture(json.loads(Path(job.input.config).read_text())["model"], *job.output)
