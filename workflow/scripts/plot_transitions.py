"""Which motif follows which in the stages of sleep."""

from pathlib import Path

import numpy as np
from plot_style import begin, name, new_figure, plt, save, say

from cldtrans.data.shards import ShardSet
from cldtrans.evaluation.by_state import motif_transitions, rows_by_state

WINDOWS = 24  # a stage
STAGES = "sleep_stage"


def plot_transitions(checkpoint: Path, folders: list[Path], *paths: str) -> None:
    """Draw, by stage, how much more often one common motif follows another than their frequencies say."""
    from cldtrans.models import CLDTrans

    model = CLDTrans.from_pretrained(checkpoint).eval()
    asked = [
        shards
        for shards in map(ShardSet, folders)
        if len(shards) and shards.task and shards.task.name == STAGES and model.config.quantize
    ]
    states = rows_by_state(asked[0], WINDOWS) if asked else {}
    figure, panels = new_figure(columns=max(len(states), 1), height=1.9, sharey=True)
    if not states:
        reason = "no sleep stages in this run" if model.config.quantize else "this variant has no codebook"
        say(panels[0], reason)
        save(figure, *paths)
        return
    found = motif_transitions(model, asked[0], states)
    limit = max(max(np.nanmax(np.abs(one.lift), initial=0.0) for one in found.values()), 0.5)
    for panel, (stage, one) in zip(panels, found.items(), strict=True):
        panel.set_facecolor("0.85")  # too few to tell
        image = panel.imshow(one.lift, cmap="PuOr_r", vmin=-limit, vmax=limit)
        panel.set_title(f"{stage}\n{len(states[stage])} windows")
        panel.set_xticks(range(len(one.common)), one.common, rotation=90, fontsize=6)
        panel.set_yticks(range(len(one.common)), one.common, fontsize=6)
    panels[0].set_ylabel(f"motif ({name(str(asked[0].meta['dataset']))})")
    panels[len(panels) // 2].set_xlabel("motif that follows; grey: too few to tell")
    bar = plt.colorbar(image, ax=panels, shrink=0.8)
    bar.set_label("log2 observed / expected", fontsize=7)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_transitions(
        Path(job.input.weights[0]).parent, [Path(index).parent for index in job.input.indices], *job.output
    )
