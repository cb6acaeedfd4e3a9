"""What a pretrained model reads in one window of EEG and one of ECG."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from plot_style import begin, name, new_figure, plt, save, say

from cldtrans.data.shards import ShardSet


def choose_windows(folders: list[Path]) -> list[tuple[ShardSet, int]]:
    """Choose one window a modality, of the first corpus that has any.

    Where there is a seizure, it is one at an onset.
    """
    chosen: dict[str, tuple[ShardSet, int]] = {}
    for folder in folders:
        shards = ShardSet(folder)
        if len(shards) and shards.modality not in chosen:
            onsets = np.flatnonzero(shards.index["kind"].to_numpy() == "onset")
            chosen[shards.modality] = (shards, int(onsets[0]) if len(onsets) else 0)
    return [chosen[modality] for modality in sorted(chosen, reverse=True)]


def draw_traces(panel: Axes, x: np.ndarray, channels: list[str], sample_rate: float) -> None:
    """Draw channels above each other.

    Parameters
    ----------
    panel : Axes
        Where.
    x : array [C, T]
        Signals, in any unit.
    channels : list of str
        Names of the C channels.
    sample_rate : float
        Hertz.
    """
    seconds = np.arange(x.shape[1]) / sample_rate
    spread = 4 * np.nanmedian(x.std(axis=1)) + 1e-9
    for k, row in enumerate(x):
        panel.plot(seconds, row / spread - k, color="0.15", linewidth=0.5)
    panel.set_yticks(-np.arange(len(channels)), channels, fontsize=6)
    panel.set_ylim(-len(channels), 1)
    panel.set_xlabel("time (s)")


def draw_heat_map(panel: Axes, tau_ms: np.ndarray, probability: np.ndarray, channels: list[str]) -> None:
    """Draw lags [C, C] in milliseconds; the paler a cell, the less probable its edge."""
    limit = max(float(tau_ms.max()), 1e-9)
    image = panel.imshow(tau_ms, cmap="viridis", vmin=0, vmax=limit, alpha=np.clip(probability, 0.05, 1))
    panel.set_xticks(range(len(channels)), channels, rotation=90, fontsize=6)
    panel.set_yticks(range(len(channels)), channels, fontsize=6)
    panel.set_xlabel("source")
    panel.set_ylabel("target")
    panel.set_title("lag (ms); pale: improbable")
    plt.colorbar(image, ax=panel, shrink=0.8)


def plot_lags(checkpoint: Path, folders: list[Path], *paths: str) -> None:
    """Draw one row a modality: traces, and the matrix of lags."""
    import torch

    from cldtrans.models import CLDTrans

    model = CLDTrans.from_pretrained(checkpoint).eval()
    windows = choose_windows(folders)
    figure, panels = new_figure(columns=2, rows=max(len(windows), 1), height=2.8)
    if not windows:
        say(panels[0], "no windows in this run")
    for (shards, row), (traces, heat) in zip(
        windows, np.array(panels, dtype=object).reshape(-1, 2), strict=False
    ):
        rows, channels = np.array([row]), list(shards.channels)
        x, mask = shards.windows(rows), shards.mask(rows)
        with torch.no_grad():
            out = model(torch.from_numpy(x), shards.rate_hz, torch.from_numpy(mask), shards.modality)
        tau_ms, probability = 1e3 * out.tau[0].numpy(), out.edge_probability[0].numpy()
        draw_traces(traces, x[0], channels, shards.rate_hz)
        entry = shards.index.iloc[row]
        traces.set_title(
            f"{name(str(shards.meta['dataset']))}: {entry['recording']}, {entry['start_s']:.0f} s"
        )
        draw_heat_map(heat, tau_ms, probability, channels)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_lags(
        Path(job.input.weights[0]).parent,
        [Path(index).parent for index in job.input.indices],
        *job.output,
    )
