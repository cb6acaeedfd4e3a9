"""How late the independent leads of an ECG are, by diagnostic superclass."""

from pathlib import Path

import numpy as np
from plot_style import begin, legend_below, looks, name, new_figure, save, say

from cldtrans.data.shards import ShardSet
from cldtrans.evaluation.by_state import lags_by_subject, rows_by_state
from cldtrans.scoring.intervals import t_interval

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")  # the other four are sums of I and II
REFERENCE = "II"
WINDOWS = 12  # a superclass


def plot_conduction(checkpoint: Path, folders: list[Path], *paths: str) -> None:
    """Draw the delay of each lead after lead II, mean over subjects with 95 % interval."""
    from cldtrans.models import CLDTrans

    asked = [
        shards
        for shards in map(ShardSet, folders)
        if len(shards) and shards.modality == "ecg" and shards.task and set(LEADS) <= set(shards.channels)
    ]
    figure, panels = new_figure(height=2.6)
    panel = panels[0]
    states = rows_by_state(asked[0], WINDOWS) if asked else {}
    if not states:
        say(panel, "no labelled ECG of twelve leads in this run")
        save(figure, *paths)
        return
    shards, model = asked[0], CLDTrans.from_pretrained(checkpoint).eval()
    places = [shards.channels.index(lead) for lead in LEADS]
    source = shards.channels.index(REFERENCE)
    look = looks(states)
    for k, (state, rows) in enumerate(states.items()):
        tau, _ = lags_by_subject(model, shards, rows)
        # Where one source drives the leads, one of the two directions is 0 and this is the delay.
        signed = 1e3 * (tau[:, places, source] - tau[:, source, places])
        mean = np.nanmean(signed, axis=0)
        bounds = [t_interval(column[np.isfinite(column)]) or (np.nan, np.nan) for column in signed.T]
        low, high = np.array(bounds).T
        shown = np.array(LEADS) != REFERENCE
        x = np.arange(len(LEADS)) + 0.13 * (k - (len(states) - 1) / 2)
        style = look[state] | {"linestyle": "none"}
        panel.errorbar(
            x[shown],
            mean[shown],
            yerr=[(mean - low)[shown], (high - mean)[shown]],
            label=f"{state} (n = {len(tau)})",
            **style,
        )
    panel.axhline(0, color="0.45", linewidth=0.8, zorder=0)
    panel.set_xticks(range(len(LEADS)), LEADS)
    panel.set_xlabel(f"lead ({name(str(shards.meta['dataset']))}, one label, n subjects each)")
    panel.set_ylabel(f"lag from lead {REFERENCE} less lag to it (ms)")
    legend_below(figure, panels, most=5)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_conduction(
        Path(job.input.weights[0]).parent, [Path(index).parent for index in job.input.indices], *job.output
    )
