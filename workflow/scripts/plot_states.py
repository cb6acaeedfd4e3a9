"""Lags that a pretrained model reads in EEG of different states."""

from pathlib import Path

import numpy as np
from plot_style import begin, name, new_figure, plt, save, say

from cldtrans.data.shards import ShardSet
from cldtrans.evaluation.by_state import lags_by_subject, rows_by_state

WINDOWS = 16  # a state
FEWEST_CHANNELS = 8


def plot_states(checkpoint: Path, folders: list[Path], *paths: str) -> None:
    """Draw the mean lag of every pair by state, weighed by the probability of its edge."""
    from cldtrans.models import CLDTrans

    asked = [
        shards
        for shards in map(ShardSet, folders)
        if len(shards)
        and shards.modality == "eeg"
        and shards.task
        and shards.task.kind != "multilabel"
        and len(shards.channels) >= FEWEST_CHANNELS
    ]
    states = rows_by_state(asked[0], WINDOWS) if asked else {}
    figure, panels = new_figure(columns=max(len(states), 1), height=3.1, sharey=True)
    if not states:
        say(panels[0], "no labelled EEG of many channels in this run")
        save(figure, *paths)
        return
    shards, model = asked[0], CLDTrans.from_pretrained(checkpoint).eval()
    read = {state: lags_by_subject(model, shards, rows) for state, rows in states.items()}
    maps = {
        state: 1e3 * np.nansum(tau * p, axis=0) / np.maximum(np.nansum(p, axis=0), 1e-9)
        for state, (tau, p) in read.items()
    }
    limit = max(max(float(np.nanquantile(one, 0.98)) for one in maps.values()), 1e-9)
    for panel, (state, one) in zip(panels, maps.items(), strict=True):
        image = panel.imshow(one, cmap="viridis", vmin=0, vmax=limit)
        panel.set_title(f"{state}: {len(states[state])} windows, {len(read[state][0])} subjects")
        ticks = range(len(shards.channels))
        panel.set_xticks(ticks, shards.channels, rotation=90, fontsize=6)
        panel.set_yticks(ticks, shards.channels, fontsize=6)
        panel.set_xlabel("source")
    panels[0].set_ylabel(f"target ({name(str(shards.meta['dataset']))})")
    bar = plt.colorbar(image, ax=panels, shrink=0.8, extend="max")
    bar.set_label("lag (ms), weighed by probability")
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_states(
        Path(job.input.weights[0]).parent, [Path(index).parent for index in job.input.indices], *job.output
    )
