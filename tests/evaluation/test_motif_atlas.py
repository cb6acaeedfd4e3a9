"""The atlas of motifs against counting and searching all patches at once."""

import numpy as np
import pandas as pd
import torch
from toys.model import make_model
from toys.shards import write_shards

from cldtrans.data.shards import ShardSet
from cldtrans.evaluation.motif_atlas import CONTEXT, motif_atlas


def test_counts_and_exemplars_are_those_of_an_exhaustive_search(tmp_path):
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.standard_normal((11, 3, 480)), axis=2)
    mask = np.ones((11, 3), dtype=bool)
    mask[4, 1] = False
    index = pd.DataFrame({"subject": ["s"] * 11, "recording": ["r"] * 11})
    shards = ShardSet(
        write_shards(
            tmp_path / "toy", x, index, channels=("a", "b", "c"), sample_rate=160.0, task=None, mask=mask
        )
    )
    model, rows = make_model(), np.arange(11)
    atlas = motif_atlas(model, shards, rows, n_common=4, n_exemplars=3)

    with torch.no_grad():
        signal, valid, codes = model.motifs(
            torch.from_numpy(shards.windows(rows)), 160.0, torch.from_numpy(mask), "eeg"
        )
    found = [
        (int(codes.index[w, c, k]), float(codes.distance[w, c, k]), signal[w, c])
        for w, c in valid.nonzero().tolist()
        for k in range(CONTEXT, 48 - CONTEXT)
    ]
    counts = np.bincount([motif for motif, _, _ in found], minlength=32)
    np.testing.assert_array_equal(atlas.counts, counts)
    assert atlas.perplexity <= (counts > 0).sum()
    np.testing.assert_array_equal(np.sort(counts)[::-1][:4], counts[atlas.common])
    for motif, waves in zip(atlas.common, atlas.exemplars, strict=True):
        nearest = sorted(distance for other, distance, _ in found if other == motif)[:3]
        assert np.isfinite(waves).all(1).sum() == len(nearest)
        # Each exemplar is a stretch of the windows, cut on the grid of patches.
        for wave in waves[: len(nearest)]:
            at = signal[valid].unfold(-1, len(wave), 10).flatten(0, 1).numpy()
            assert (np.abs(at - wave).max(1) < 1e-6).any()
