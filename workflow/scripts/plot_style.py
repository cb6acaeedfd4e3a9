"""The look that every figure shares: its width on paper, and one colour, marker and dash a method."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN, FULL = (
    3.3,
    5.5,
)  # inches: a column, and the width of a page's text; figures are drawn at their final size
MARKERS = "os^DvP*X<>"
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
THEME = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "errorbar.capsize": 2,
    "pdf.fonttype": 42,  # text stays text
}
CHANCE: dict[str, Any] = {"color": "0.45", "linestyle": (0, (4, 3)), "linewidth": 1, "zorder": 0}
NAMES = {
    "fewshot": "few-shot",
    "tenfold": "few-shot, ten folds",
    "loso": "few-shot, leave one subject out",
    "lead_robustness": "degraded discharges",
    "reconstruction": "reconstruction error",
    "planted": "planted discharges",
    "zeroshot": "recorded seizures",
    "known_lags": "known lags",
    "cldtrans": "CLD-Trans",
    "feature_linear": "Features + linear",
    "inception_time": "InceptionTime",
    "single_source": "Single source",
    "gcc_phat": "GCC-PHAT",
    "gcc_phat_whole": "GCC-PHAT, whole samples",
    "pairwise": "pairwise delays",
    "amortised": "CLD-Trans, pretrained",
    "phase_slope": "phase-slope index",
    "magnitude": "magnitude",
    "line_length": "First rise of line length",
    "ldsem": "LD-SEM fit",
    "ldsem_student": "LD-SEM, Student-t",
    "ldsem_gaussian": "LD-SEM, Gaussian",
    "ldsem_no_jacobian": "LD-SEM, no Jacobian",
    "macro_auroc": "macro AUROC",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "nrmse": "nRMSE",
    "ibs": "Brier score over time",
    "macro_auprc": "macro AUPRC",
    "balanced_accuracy": "balanced accuracy",
    "kappa": "Cohen's kappa",
    "tau_rms_samples": "rms lag error, samples",
    "direction_accuracy": "direction right",
    "zone_auroc": "AUROC of the onset zone",
    "agreement_line_length": "agreement with line length",
    "metadata_floor": "Metadata floor",
    "boosted_features": "Boosted features",
    "random_kernels": "Random kernels + ridge",
    "top1": "top-1",
    "top3": "top-3",
    "top5": "top-5",
    "consistency_top1": "agreement of seizures, top-1",
    "lobe_accuracy": "lobe",
    "side_accuracy": "side",
    "edge_f1": "F1 of edges",
    "error_over_bound": "lag error / bound",
    "no-vq": "without VQ",
    "no-lag": "without lags",
    "integer-lag": "whole-sample lags",
    "no-ode": "without ODE",
    "no-attention": "without attention",
    "no-events": "without events",
    "no-covariance": "without covariance",
    "var_granger": "VAR + Granger",
    "dynotears": "DYNOTEARS",
    "varlingam": "VARLiNGAM",
    "pcmci_plus": "PCMCI+",
}


def name(key: str) -> str:
    """Return a method, dataset or metric as readers know it."""
    return NAMES.get(key, key)


def looks(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return colour, marker and dash by method, in the order of a legend.

    Ours is always the first; the others follow by name. Colours repeat after ten, with the next marker each.
    """
    order = sorted(set(methods), key=lambda method: (method != "cldtrans", method))
    palette = sns.color_palette("colorblind", max(len(order), 1))
    return {
        method: {
            "color": palette[k],
            "marker": MARKERS[(k + k // len(MARKERS)) % len(MARKERS)],
            "linestyle": DASHES[k % len(DASHES)],
        }
        for k, method in enumerate(order)
    }


def new_figure(
    columns: int = 1, rows: int = 1, width: float = FULL, height: float = 2.0, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Make a grid of panels in the common style, flattened to a list.

    Parameters
    ----------
    columns, rows : int
        Of the grid.
    width : float
        Of the figure on paper, inches: `COLUMN` or `FULL`.
    height : float
        Of a row, inches.
    **options
        Further arguments of `plt.subplots`.
    """
    sns.set_theme(context="paper", style="ticks", rc=THEME)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(width, rows * height),
        layout="constrained",
        squeeze=False,
        **options,
    )
    sns.despine(figure)
    return figure, list(axes.flat)


def say(axes: Axes, message: str) -> None:
    """Write into a panel why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, message, ha="center", va="center", wrap=True, color="0.35", transform=axes.transAxes)


def mark_chance(axes: Axes, value: float, along: str = "x", text: str = "chance") -> None:
    """Draw the line of chance and name it: along x at a height, or along y at an x."""
    if along == "x":
        axes.axhline(value, **CHANCE)
        place, way = (1.0, value), axes.get_yaxis_transform()
        axes.text(*place, f"{text} ", transform=way, ha="right", va="bottom", fontsize=6.5, color="0.35")
    else:
        axes.axvline(value, **CHANCE)
        place, way = (value, 0.0), axes.get_xaxis_transform()
        far = axes.transAxes.inverted().transform(axes.transData.transform((value, 0)))[0] > 0.5
        side, label = ("right", f"{text} ") if far else ("left", f" {text}")
        axes.text(*place, label, transform=way, ha=side, va="bottom", fontsize=6.5, color="0.35")


def errors(rows: pd.DataFrame) -> list[pd.Series]:
    """Return how far the intervals reach below and above the means; 0 where there is none."""
    reach = (rows["mean"] - rows["ci_low"], rows["ci_high"] - rows["mean"])
    return [part.clip(lower=0).fillna(0) for part in reach]


def legend_below(figure: Figure, panels: list[Axes], most: int) -> None:
    """Name what any of the panels shows, once, below them; at `most` so many side by side."""
    named = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    if named:
        columns = min(len(named), most)
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns)


def begin() -> Any:
    """Return the job of the script that runs: Snakemake puts it among the script's names.

    What the script prints, tracebacks included, goes to its log from here on; datasets get their titles.
    """
    job = vars(sys.modules["__main__"])["snakemake"]
    sys.stdout = sys.stderr = Path(job.log[0]).open("w", buffering=1)  # noqa: SIM115
    NAMES.update(job.params.get("titles", {}))
    return job


def save(figure: Figure, *paths: str) -> None:
    """Write the figure in every format; files of equal figures are equal (no dates)."""
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
        figure.savefig(path, dpi=200, metadata=metadata)
    plt.close(figure)
