"""What a linear probe reads from the pooled vector of real recordings: benchmarks/ptbxl_probe.py CHECKPOINT.

PTB-XL: all records of the mirror that have a superclass, macro AUROC over five labels. Ten folds by patient:
fold k tests, k + 1 chooses the penalty, eight train; three divisions into folds; all training records, and a
tenth of them in three draws. AUROC counts the pairs of one test fold. Intervals and differences: bootstrap
over patients, the same patients for all methods.

EEG: one or two persons of EEGMMIDB: defects show, nothing is ranked. Left or right fist (S001, six runs,
4 s from each cue): each run tests, the next chooses the penalty. Eyes open or closed (S003, 2 s): five blocks
of time; a run is a condition, so what differs between runs counts, too.

Beside the checkpoint: the same network with fresh weights, whose codebooks start from these recordings
without labels, as the first step of training starts them; hand-made features with the same probe; random
convolution kernels with ridge regression (Dempster et al. 2021, MiniRocket, reduced to what it rests on).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from report import DOCS, add_write_option, publish
from sklearn.linear_model import RidgeClassifier

from cldtrans.baselines.feature_linear import ecg_features, eeg_features
from cldtrans.config import load_any
from cldtrans.data import get_dataset
from cldtrans.data.base import Task
from cldtrans.data.quality import fill_gaps
from cldtrans.data.zero_phase import band_pass
from cldtrans.methods.linear_probe import Blocks, LinearProbe
from cldtrans.models import CLDTrans

ROOT = Path(__file__).resolve().parent.parent
PAGE = DOCS / "representation.md"
MIRROR = ROOT.parent / "shared" / "physionet"
FOLDS, SEEDS, DRAWS = 10, (1, 2, 3), 3
RESAMPLED = 1000
KERNELS = 1000
BATCH = 16


@dataclass(frozen=True)
class Windows:
    """Real windows x [n, C, T] in millivolts or microvolts, labels y [n] or [n, K], what stays together."""

    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray
    task: Task
    channels: tuple[str, ...]
    rate_hz: float
    modality: str


@dataclass(frozen=True)
class Split:
    """Rows of a division."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def ptbxl(mirror: Path) -> Windows:
    """Read the mirror's records that have a superclass."""
    dataset = get_dataset("ptbxl")
    settings = load_any([ROOT / "config" / "standard.yaml"]).preprocess["ptbxl"]
    table = dataset.recordings(mirror)
    assert dataset.task is not None
    labels = table[list(dataset.task.columns)].to_numpy()
    here = np.array([(mirror / path).with_suffix(".dat").exists() for path in table["path"]])
    table, labels = table[here & (labels >= 0).all(1)], labels[here & (labels >= 0).all(1)]
    x = np.stack([dataset.read(mirror, row).data for row in table.itertuples()])
    x = band_pass(fill_gaps(x), settings.rate_hz, settings.rate_hz, settings.band_hz)
    subjects = table["subject"].to_numpy().astype(str)
    task = dataset.task
    return Windows(x, labels.astype(int), subjects, task, dataset.channels, settings.rate_hz, "ecg")


def fists(mirror: Path) -> Windows:
    """Cut S001's trials of the left and the right fist, real and imagined, from their cues."""
    import mne

    parts, labels, runs = [], [], []
    for run in (3, 4, 7, 8, 11, 12):
        x, path = _eeg(mirror, "S001", run)
        for note in mne.io.read_raw_edf(path, verbose="ERROR").annotations:
            first = round(note["onset"] * 160)
            if note["description"] in ("T1", "T2") and first + 640 <= x.shape[1]:
                parts.append(x[:, first : first + 640])
                labels.append(int(note["description"] == "T2"))
                runs.append(run)
    return _windows(parts, labels, runs, ("left", "right"))


def eyes(mirror: Path) -> Windows:
    """Cut S003's minutes with open and with closed eyes, five blocks each."""
    parts, labels, blocks = [], [], []
    for run in (1, 2):
        x, _ = _eeg(mirror, "S003", run)
        for k in range(30):
            parts.append(x[:, 320 * k : 320 * (k + 1)])
            labels.append(run - 1)
            blocks.append(k // 6)
    return _windows(parts, labels, blocks, ("open", "closed"))


def _eeg(mirror: Path, person: str, run: int) -> tuple[np.ndarray, Path]:
    path = f"eegmmidb/1.0.0/{person}/{person}R{run:02d}.edf"
    signal = get_dataset("eegmmidb").read(mirror, SimpleNamespace(path=path))
    return band_pass(signal.data, 160, 160, (0.5, 40)), mirror / path


def _windows(
    parts: list[np.ndarray], labels: list[int], groups: list[int], names: tuple[str, ...]
) -> Windows:
    task, channels = Task("eeg", "binary", names), get_dataset("eegmmidb").channels
    return Windows(np.stack(parts), np.array(labels), np.array(groups), task, channels, 160.0, "eeg")


def pooled(model: CLDTrans, windows: Windows) -> np.ndarray:
    """Read the pooled vectors [n, F]."""
    mask = np.ones(windows.x.shape[:2], dtype=bool)
    parts = [
        model.read(
            windows.x[k : k + BATCH],
            windows.rate_hz,
            mask[k : k + BATCH],
            windows.modality,
            positions=windows.channels,
        ).pooled.numpy()
        for k in range(0, len(mask), BATCH)
    ]
    return np.concatenate(parts)


def fresh(model: CLDTrans, corpora: Sequence[Windows]) -> CLDTrans:
    """Make the network with fresh weights, its codebooks started by k-means on these windows."""
    torch.manual_seed(0)
    twin = CLDTrans(model.config).train()
    for windows in corpora:
        for part in np.array_split(windows.x, max(1, len(windows.x) // BATCH)):
            twin.motifs(torch.from_numpy(part), windows.rate_hz, modality=windows.modality)
    twin.update_codebooks()
    twin.settle()
    return twin.eval()


def hand_made(windows: Windows) -> np.ndarray:
    """Compute the features of the method `feature_linear`, of channels of unit variance as it sees them."""
    x = windows.x - windows.x.mean(-1, keepdims=True)
    x = x / x.std(-1, keepdims=True)
    extract = ecg_features if windows.modality == "ecg" else eeg_features
    found = extract(x, np.ones(x.shape[:2], dtype=bool), windows.rate_hz)
    return np.where(np.isfinite(found), found, np.nanmean(found, axis=0))


def random_kernels(windows: Windows) -> np.ndarray:
    """Compute the share of samples above a threshold after each of many random dilated convolutions.

    Nine taps of -1 and 2, three of them 2; dilations spread evenly over octaves up to the window's length; a
    random subset of channels each; the threshold is a quantile of a random window's own response.
    """
    rng = np.random.default_rng(0)
    x = windows.x - windows.x.mean(-1, keepdims=True)
    x = torch.from_numpy(x / x.std(-1, keepdims=True))
    n_channels, n_samples = x.shape[1:]
    most = np.log2((n_samples - 1) / 8)
    found = np.empty((len(x), KERNELS), dtype=np.float32)
    for k in range(KERNELS):
        taps = np.full(9, -1.0, dtype=np.float32)
        taps[rng.permutation(9)[:3]] = 2
        dilation = int(2 ** rng.uniform(0, most))
        size = int(2 ** rng.uniform(0, np.log2(min(n_channels, 9) + 1)))
        mixed = x[:, rng.permutation(n_channels)[:size]].sum(1, keepdim=True)
        kernel = torch.from_numpy(taps)[None, None]
        y = torch.nn.functional.conv1d(mixed, kernel, dilation=dilation, padding=4 * dilation * int(k % 2))[
            :, 0
        ]
        threshold = torch.quantile(y[rng.integers(len(y))], float(rng.uniform(0.05, 0.95)))
        found[:, k] = (y > threshold).float().mean(1).numpy()
    return found


def probed(features: np.ndarray, windows: Windows, split: Split, blocks: Blocks | None) -> np.ndarray:
    """Fit the project's linear probe; return scores [n_test, K]."""
    y = windows.y
    probe = LinearProbe(windows.task.kind, windows.task.classes, blocks)
    probe.fit(features[split.train], y[split.train], features[split.val], y[split.val])
    found = probe.predict_proba(features[split.test])
    return found if y.ndim == 2 else found[:, 1:]


def ridge(features: np.ndarray, windows: Windows, split: Split, blocks: Blocks | None) -> np.ndarray:
    """Fit a ridge classifier a label, its penalty by the AUROC of validation; return scores [n_test, K]."""
    y = windows.y.reshape(len(features), -1)
    mean, scale = features[split.train].mean(0), features[split.train].std(0) + 1e-8
    z = (features - mean) / scale
    best, scores = -1.0, np.zeros((len(split.test), y.shape[1]))
    for penalty in np.logspace(1, 6, 6):
        fits = [
            RidgeClassifier(alpha=penalty, class_weight="balanced").fit(z[split.train], y[split.train, k])
            if len(np.unique(y[split.train, k])) > 1
            else None
            for k in range(y.shape[1])
        ]
        val, test = (
            np.column_stack([np.zeros(len(r)) if f is None else f.decision_function(z[r]) for f in fits])
            for r in (split.val, split.test)
        )
        quality = float(np.nanmean(auroc([(split.val, val)], y, np.ones((1, len(y))))))
        if quality > best:
            best, scores = quality, test
    return scores


def auroc(scored: Sequence[tuple[np.ndarray, np.ndarray]], y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute each label's AUROC [R, K] over the pairs of one fold, all folds together.

    Parameters
    ----------
    scored : sequence of (array [m], array [m, K])
        Rows of a test fold and their scores.
    y : array [n, K]
        Labels of all windows.
    weights : array [R, n]
        Of each window, R times.
    """
    right, pairs = np.zeros((len(weights), y.shape[1])), np.zeros((len(weights), y.shape[1]))
    for rows, scores in scored:
        for k in range(y.shape[1]):
            yes = y[rows, k] == 1
            above = np.sign(scores[yes, None, k] - scores[None, ~yes, k]) / 2 + 0.5
            heavy, light = weights[:, rows[yes]], weights[:, rows[~yes]]
            right[:, k] += np.einsum("ra,ra->r", heavy, light @ above.T)
            pairs[:, k] += heavy.sum(1) * light.sum(1)
    return np.divide(right, pairs, out=np.full(right.shape, np.nan), where=pairs > 0)


def resampled(scored: dict[str, list[tuple[np.ndarray, np.ndarray]]], windows: Windows) -> pd.DataFrame:
    """Return macro AUROC of each method; row 0 as measured, the others on resampled groups."""
    y = windows.y.reshape(len(windows.y), -1)
    names, group = np.unique(windows.groups, return_inverse=True)
    if windows.modality == "eeg":  # few runs: windows are resampled, which the page says
        names, group = np.arange(len(y)), np.arange(len(y))
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLED, len(names)))
    counts = np.stack([np.bincount(draw, minlength=len(names)) for draw in drawn])
    weights = np.vstack([np.ones(len(y)), counts[:, group]])
    return pd.DataFrame(
        {name: np.nanmean(auroc(parts, y, weights), axis=1) for name, parts in scored.items()}
    )


def by_patient(windows: Windows, share: float) -> list[Split]:
    """Divide windows by patient; of the training records all, or a share in several draws."""
    found = []
    for seed in SEEDS:
        names = np.random.default_rng(seed).permutation(np.unique(windows.groups))
        place = {name: k % FOLDS for k, name in enumerate(names)}
        fold = np.array([place[name] for name in windows.groups])
        for k in range(FOLDS):
            test, val = np.flatnonzero(fold == k), np.flatnonzero(fold == (k + 1) % FOLDS)
            rest = np.flatnonzero((fold != k) & (fold != (k + 1) % FOLDS))
            for draw in range(1 if share == 1 else DRAWS):
                some = np.random.default_rng([seed, k, draw]).permutation(rest)[: round(share * len(rest))]
                found.append(Split(rest if share == 1 else np.sort(some), val, test))
    return found


def by_group(windows: Windows) -> list[Split]:
    """Leave each group out; the next one chooses the penalty."""
    names = np.unique(windows.groups)
    found = []
    for name, following in zip(names, np.roll(names, -1), strict=True):
        test, val = windows.groups == name, windows.groups == following
        found.append(Split(*(np.flatnonzero(part) for part in (~test & ~val, val, test))))
    return found


def row(what: str, budget: str, values: pd.DataFrame, n: str) -> list[dict[str, str]]:
    """Return a row a method: AUROC, and what the first method has more, with 95 % intervals."""
    ours = values.columns[0]
    return [
        {
            "task": what,
            "labels": budget,
            "n": n,
            "method": name,
            "AUROC": _interval(values[name]),
            f"{ours} more by": "" if name == ours else _interval(values[ours] - values[name], sign="+"),
        }
        for name in values
    ]


def _interval(values: pd.Series, sign: str = "") -> str:
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return f"{values[0]:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def main() -> None:
    """Measure, print, publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="folder of a saved model")
    parser.add_argument(
        "mirror", type=Path, nargs="?", default=MIRROR, help="recordings, laid out as the bucket"
    )
    add_write_option(parser, PAGE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = CLDTrans.from_pretrained(args.checkpoint).eval()
    ecg, fist, eye = ptbxl(args.mirror), fists(args.mirror), eyes(args.mirror)
    with torch.inference_mode(False):
        twin = fresh(model, [ecg, fist, eye])
    found = []
    for what, windows in (("PTB-XL superclasses", ecg), ("left or right fist", fist), ("eyes", eye)):
        shares = model.shares(windows.modality)
        edges = np.cumsum([0, *(width for width, _ in shares)])
        trained, untrained = pooled(model, windows), pooled(twin, windows)
        ways = {
            "checkpoint": (trained, probed, shares),
            "fresh weights": (untrained, probed, shares),
            "hand-made features": (hand_made(windows), probed, None),
            "random kernels": (random_kernels(windows), ridge, None),
        }
        for k, name in enumerate(model.blocks(windows.modality)):
            kept = np.r_[0 : edges[k], edges[k + 1] : edges[-1]]
            ways[f"without {name}"] = (trained[:, kept], probed, [*shares[:k], *shares[k + 1 :]])
        budgets = {"all": by_patient(windows, 1.0), "10 %": by_patient(windows, 0.1)}
        for budget, splits in (budgets if windows.modality == "ecg" else {"all": by_group(windows)}).items():
            scored = {
                name: [(split.test, fit(features, windows, split, blocks)) for split in splits]
                for name, (features, fit, blocks) in ways.items()
            }
            n = f"{len(windows.y)}, {len(np.unique(windows.groups))} groups"
            found += row(what, budget, resampled(scored, windows), n)
    remark = "AUROC with 95 % intervals, by bootstrap over patients (EEG: over windows of one person)."
    publish("ptbxl-probe", pd.DataFrame(found).fillna(""), args.write, remark, PAGE)


if __name__ == "__main__":
    main()
