"""What a pretrained model reads in windows of one state: lags by label, and which motif follows which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from cldtrans.data.shards import ShardSet
from cldtrans.models import CLDTrans

_BATCH = 8


def rows_by_state(windows: ShardSet, most: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw windows of each class of a dataset's task.

    Parameters
    ----------
    windows : ShardSet
        With a task. Of a multilabel one, only windows with a single label count.
    most : int
        Windows a class; of as many subjects as there are.
    seed : int
        Of the draw.

    Returns
    -------
    dict of arrays [n] of int
        Positions in the index by class, of those that have any.
    """
    assert windows.task is not None
    table, task = windows.index, windows.task
    labels = table[list(task.columns)].to_numpy()
    if task.kind == "multilabel":
        single = (labels == 1).sum(axis=1) == 1
        state = np.where(single, (labels == 1).argmax(axis=1), -1)
    else:
        state = labels[:, 0]
    rng, drawn = np.random.default_rng(seed), {}
    for k, title in enumerate(task.classes):
        rows = rng.permutation(np.flatnonzero(state == k))
        turn = (
            pd.Series(table["subject"].to_numpy()[rows]).groupby(table["subject"].to_numpy()[rows]).cumcount()
        )
        chosen = rows[np.argsort(turn.to_numpy(), kind="stable")][:most]
        if len(chosen):
            drawn[title] = np.sort(chosen)
    return drawn


@torch.inference_mode()
def lags_by_subject(model: CLDTrans, windows: ShardSet, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read lags, averaged over each subject's windows.

    Parameters
    ----------
    model : CLDTrans
        Pretrained.
    windows : ShardSet
        Of C channels.
    rows : array [n] of int
        Positions in its index.

    Returns
    -------
    tau : array [S, C, C]
        Delay from source (column) to target (row) by subject, seconds; NaN where no window of theirs has the
        channel.
    probability : array [S, C, C]
        Of an edge.
    """
    read: list[tuple[np.ndarray, np.ndarray]] = []
    for part in np.array_split(rows, max(1, -(-len(rows) // _BATCH))):
        x, mask = torch.from_numpy(windows.windows(part)), windows.mask(part)
        out = model(x, windows.rate_hz, torch.from_numpy(mask), windows.modality)
        both = (mask[:, :, None] & mask[:, None, :])[..., None]
        pair = np.stack([out.tau.numpy(), out.edge_probability.numpy()], axis=-1)
        read += list(np.where(both, pair, np.nan))
    subjects = windows.index["subject"].to_numpy()[rows]
    values = np.stack(read)
    means = np.stack([_mean(values[subjects == name]) for name in np.unique(subjects)])
    return means[..., 0], means[..., 1]


@dataclass(frozen=True)
class Transitions:
    """Motifs that follow one another in a channel.

    Attributes
    ----------
    common : array [M] of int
        The motifs used most in all states together, most used first.
    lift : array [M, M]
        log2 of how often the column's motif follows the row's, over what their frequencies in the state alone
        would give; NaN where less than `LEAST` are expected.
    tokens : int
        Patches counted.
    """

    common: np.ndarray
    lift: np.ndarray
    tokens: int


LEAST = 2.0


@torch.inference_mode()
def motif_transitions(
    model: CLDTrans, windows: ShardSet, rows: dict[str, np.ndarray], n_common: int = 10
) -> dict[str, Transitions]:
    """Count which motif follows which, by state.

    Parameters
    ----------
    model : CLDTrans
        With a codebook.
    windows : ShardSet
        Of one modality.
    rows : dict of arrays
        Positions in its index by state.
    n_common : int
        M, motifs compared.
    """
    codes = {state: _codes(model, windows, chosen) for state, chosen in rows.items()}
    size = model.config.codebook_size
    counts = sum(np.bincount(np.concatenate(part), minlength=size) for part in codes.values())
    common = np.argsort(-np.asarray(counts), kind="stable")[
        : min(n_common, int((np.asarray(counts) > 0).sum()))
    ]
    found = {}
    for state, sequences in codes.items():
        joint = np.zeros((size, size))
        for sequence in sequences:
            np.add.at(joint, (sequence[:-1], sequence[1:]), 1)
        expected = np.outer(joint.sum(axis=1), joint.sum(axis=0)) / max(joint.sum(), 1)
        kept = np.ix_(common, common)
        with np.errstate(divide="ignore", invalid="ignore"):
            lift = np.log2((joint[kept] + 0.5) / (expected[kept] + 0.5))
        lift[expected[kept] < LEAST] = np.nan
        found[state] = Transitions(common, lift, sum(map(len, sequences)))
    return found


def _codes(model: CLDTrans, windows: ShardSet, rows: np.ndarray) -> list[np.ndarray]:
    """Return the codes of every valid channel of some windows, in their order in time."""
    sequences = []
    for part in np.array_split(rows, max(1, -(-len(rows) // _BATCH))):
        x, mask = torch.from_numpy(windows.windows(part)), torch.from_numpy(windows.mask(part))
        _, valid, codes = model.motifs(x, windows.rate_hz, mask, windows.modality)
        sequences += list(codes.index[valid].numpy())
    return sequences


def _mean(values: np.ndarray) -> np.ndarray:
    count = np.isfinite(values).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, np.nansum(values, axis=0) / count, np.nan)
