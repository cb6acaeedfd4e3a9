"""The codebook: how often motifs are used, how they lie, and the real waveforms of the common ones."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from plot_style import begin, name, new_figure, plt, save, say
from sklearn.manifold import TSNE

from cldtrans.data.shards import ShardSet
from cldtrans.evaluation.motif_atlas import CONTEXT, Atlas, motif_atlas

WINDOWS = 48  # of each modality's first corpus
COLUMNS = 6  # of the grid of motifs
LEAST_CODES = 5  # for t-SNE


def choose_corpora(folders: list[Path]) -> list[ShardSet]:
    """Return the first corpus of each modality that has windows."""
    chosen: dict[str, ShardSet] = {}
    for shards in map(ShardSet, folders):
        if len(shards):
            chosen.setdefault(shards.modality, shards)
    return [chosen[modality] for modality in sorted(chosen, reverse=True)]


def draw_usage(panel: Axes, atlas: Atlas) -> None:
    """Draw the share of the patches by rank of the motif."""
    share = np.sort(atlas.counts)[::-1] / atlas.counts.sum()
    used = share > 0
    panel.semilogy(np.arange(1, used.sum() + 1), 100 * share[used], color="0.15", linewidth=1.2)
    panel.axvline(atlas.perplexity, color="0.45", linestyle=(0, (4, 3)), linewidth=1)
    panel.annotate(
        f"perplexity {atlas.perplexity:.0f}",
        (atlas.perplexity, 100 * share[0]),
        xytext=(3, -2),
        textcoords="offset points",
        fontsize=7,
        color="0.35",
        va="top",
    )
    panel.set_xlim(1, len(share))
    panel.set_xlabel(f"motif, most used first ({used.sum()} of {len(share)} used)")
    panel.set_ylabel("share of patches (%)")


def draw_map(panel: Axes, atlas: Atlas) -> None:
    """Draw principal components of the codebook; size and colour: how often a motif is used."""
    used = atlas.counts > 0
    centred = atlas.entries[used] - atlas.entries[used].mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    x, y = (centred @ axes[:2].T).T
    part = 100 * singular[:2] ** 2 / (singular**2).sum()
    draw_codes(panel, x, y, atlas.counts[used])
    panel.set_xlabel(f"component 1 ({part[0]:.0f} % of variance)")
    panel.set_ylabel(f"component 2 ({part[1]:.0f} %)")


def draw_neighbours(panel: Axes, atlas: Atlas) -> None:
    """Draw the same codes by t-SNE: which lie near which, where two components cannot tell."""
    used = atlas.counts > 0
    if used.sum() < LEAST_CODES:
        say(panel, f"{used.sum()} motifs in use: too few for t-SNE")
        return
    spread = min(30.0, (int(used.sum()) - 1) / 3)
    embedding = TSNE(perplexity=spread, init="pca", random_state=0)
    x, y = embedding.fit_transform(atlas.entries[used].astype(np.float64)).T
    points = draw_codes(panel, x, y, atlas.counts[used])
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_xlabel("t-SNE: near is alike, far means nothing")
    plt.colorbar(points, ax=panel, shrink=0.8, label="log10 patches")


def draw_codes(panel: Axes, x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> PathCollection:
    """Draw codes at places x, y [K], those used most on top."""
    weight = np.log10(counts)
    order = np.argsort(weight)
    return panel.scatter(x[order], y[order], c=weight[order], s=4 + 8 * weight[order], cmap="viridis")


def draw_motifs(panel: Axes, atlas: Atlas) -> None:
    """Draw the nearest real waveforms of the motifs used most, in a grid; shaded: the patch itself."""
    n_samples = atlas.exemplars.shape[-1]
    time = np.linspace(0, 0.86, n_samples)
    patch = np.array([CONTEXT, CONTEXT + 1]) / (2 * CONTEXT + 1) * 0.86
    scale = 0.36 / np.nanquantile(np.abs(atlas.exemplars), 0.995)
    for k, waves in enumerate(atlas.exemplars):
        column, row = k % COLUMNS, k // COLUMNS
        panel.fill_betweenx([-row - 0.42, -row + 0.42], *(column + patch), color="0.92", linewidth=0)
        panel.plot(
            column + time, np.clip(scale * waves.T, -0.42, 0.42) - row, color="0.15", linewidth=0.5, alpha=0.7
        )
    panel.set_axis_off()
    length_ms = 1e3 * (2 * CONTEXT + 1) * atlas.patch_s
    panel.set_title(
        f"the most used, nearest waveforms\n{length_ms:.0f} ms each; shaded: the patch", fontsize=8
    )


def plot_motifs(checkpoint: Path, folders: list[Path], *paths: str) -> None:
    """Draw one row a modality: usage, map of the codebook, waveforms."""
    from cldtrans.models import CLDTrans

    model = CLDTrans.from_pretrained(checkpoint).eval()
    corpora = choose_corpora(folders) if model.config.quantize else []
    figure, panels = new_figure(columns=2, rows=2 * max(len(corpora), 1), height=2.1)
    if not corpora:
        reason = "no windows in this run" if model.config.quantize else "this variant has no codebook"
        for panel in panels:
            panel.set_axis_off()
        say(panels[0], reason)
    for shards, (usage, places, near, waves) in zip(
        corpora, np.array(panels, dtype=object).reshape(-1, 4), strict=False
    ):
        rows = np.random.default_rng(0).permutation(len(shards))[:WINDOWS]
        atlas = motif_atlas(model, shards, np.sort(rows))
        draw_usage(usage, atlas)
        usage.set_title(f"{name(str(shards.meta['dataset']))}, {len(rows)} windows")
        draw_map(places, atlas)
        draw_neighbours(near, atlas)
        draw_motifs(waves, atlas)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_motifs(
        Path(job.input.weights[0]).parent,
        [Path(index).parent for index in job.input.indices],
        *job.output,
    )
