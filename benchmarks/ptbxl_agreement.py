"""Whether three baselines score as independent code does: benchmarks/ptbxl_agreement.py [--write].

PTB-XL, all records of the mirror that have a superclass, macro AUROC over five labels, ten folds by patient:
fold k tests, k + 1 chooses, eight train. Ours: the classes of the config. Beside them, in an environment of
their own (envs/agreement.txt) and in the same run, aeon's MiniRocket with scikit-learn's ridge, NeuroKit2's R
peaks with scipy and scikit-learn's logistic regression, and sktime's InceptionTime network. AUROC counts the
pairs of one test fold; intervals and differences by bootstrap over patients, the same for all.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ptbxl_probe import MIRROR, Windows, by_patient, ptbxl, resampled
from report import DOCS, add_write_option, publish

from cldtrans.baselines.feature_linear import FeatureLinear
from cldtrans.baselines.inception_time import InceptionTime
from cldtrans.baselines.networks import resampled as at_rate
from cldtrans.baselines.random_kernels import RandomKernels
from cldtrans.methods.windows import Classifier, LabelledWindows

PAGE = DOCS / "baselines.md"
SLOW_HZ = 100.0  # of the published PTB-XL benchmark
FOLDS = 10
OTHERS = {
    "random_kernels": "aeon's MiniRocket, scikit-learn's ridge",
    "feature_linear": "NeuroKit2, scipy, scikit-learn's logistic regression",
    "inception_time": "sktime's network, Adam",
}


class InMemory(LabelledWindows):
    """Some rows of windows that lie in memory, standardised."""

    def __init__(self, x: np.ndarray, windows: Windows, rows: np.ndarray, rate_hz: float) -> None:
        self._x, self.rows, self.y = x, rows, windows.y[rows]
        self.subjects, self.channels, self.rate_hz = windows.groups[rows], windows.channels, rate_hz

    def x(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return signals, float32 [n, C, T]."""
        return self._x[self.rows[which]]

    def signals(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return the same."""
        return self.x(which)

    def mask(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return that every lead is valid, bool [n, C]."""
        return np.ones((len(self.rows[which]), len(self.channels)), dtype=bool)


def standardised(x: np.ndarray) -> np.ndarray:
    """Bring each lead to mean 0 and deviation 1, float32."""
    x = x - x.mean(-1, keepdims=True)
    return (x / np.maximum(x.std(-1, keepdims=True), 1e-9)).astype(np.float32)


def ours(windows: Windows, x: np.ndarray, rate_hz: float, make: Callable[[int], Classifier]) -> np.ndarray:
    """Score every fold's test windows, [n, K]."""
    scores = np.zeros(windows.y.shape)
    for k, split in enumerate(by_patient(windows, 1.0)[:FOLDS]):
        train, val, test = (
            InMemory(x, windows, rows, rate_hz) for rows in (split.train, split.val, split.test)
        )
        classifier = make(k)
        classifier.fit(train, val)
        scores[split.test] = classifier.predict_proba(test)
    return scores


def theirs(python: Path, data: Path, method: str, options: list[str]) -> np.ndarray:
    """Let the other environment score the same folds, [n, K]."""
    script, found = Path(__file__).with_name("ptbxl_independent.py"), data.with_name(f"{method}.npz")
    subprocess.run([str(python), str(script), str(data), str(found), method, *options], check=True)
    return np.load(found)["scores"]


def main() -> None:
    """Measure, print, publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mirror", type=Path, default=MIRROR, help="recordings, laid out as the bucket")
    parser.add_argument("--python", type=Path, default=Path(".venv-agreement/bin/python"))
    parser.add_argument("--methods", nargs="+", default=list(OTHERS), choices=list(OTHERS))
    parser.add_argument("--steps", type=int, default=300, help="of both networks")
    parser.add_argument("--batch", type=int, default=32, help="of both networks")
    add_write_option(parser, PAGE)
    args = parser.parse_args()
    if not args.python.exists():
        parser.error(f"no {args.python}: build it as envs/agreement.txt says, or name another with --python")
    torch.set_num_threads(1)
    windows = ptbxl(args.mirror)
    n, fast_hz = len(windows.y), windows.rate_hz
    fast = standardised(windows.x)
    slow = at_rate(
        torch.from_numpy(windows.x).float(), round(windows.x.shape[-1] * SLOW_HZ / fast_hz)
    ).numpy()
    slow = standardised(slow)
    task, leads = windows.task, windows.channels
    recipe = {"steps": args.steps, "batch_size": args.batch, "validate_every": max(1, args.steps // 6)}
    ways: dict[str, tuple[np.ndarray, float, Callable[[int], Classifier]]] = {
        "random_kernels": (slow, SLOW_HZ, lambda k: RandomKernels(task, leads, SLOW_HZ, "ecg", k, 1)),
        "feature_linear": (fast, fast_hz, lambda k: FeatureLinear(task, leads, fast_hz, "ecg", k, 1)),
        "inception_time": (
            slow,
            SLOW_HZ,
            lambda k: InceptionTime(task, leads, SLOW_HZ, "ecg", k, 1, ensemble=1, **recipe),
        ),
    }
    splits = by_patient(windows, 1.0)[:FOLDS]
    fold = np.zeros(n, dtype=int)
    for k, split in enumerate(splits):
        fold[split.test] = k
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data.npz")
        np.savez(data, slow=slow, fast=fast, fast_hz=fast_hz, y=windows.y, fold=fold)
        options = ["--steps", str(args.steps), "--batch", str(args.batch)]
        for method in args.methods:
            scores = {
                "ours": ours(windows, *ways[method]),
                "theirs": theirs(args.python, data, method, options),
            }
            by_fold = {who: [(split.test, s[split.test]) for split in splits] for who, s in scores.items()}
            found = resampled(by_fold, windows)
            rows.append({"method": f"`{method}`", "beside": OTHERS[method], **_compared(found)})
            print(rows[-1], flush=True)
    patients = len(np.unique(windows.groups))
    remark = (
        f"n = {n} records of {patients} patients, {FOLDS} folds by patient, macro AUROC over "
        f"{windows.y.shape[1]} superclasses, chance 0.500; 95 % intervals by bootstrap over patients."
    )
    if "inception_time" in args.methods:
        remark += f" Networks: one, {args.steps} steps of {args.batch}."
    publish("ptbxl", pd.DataFrame(rows), args.write, remark, PAGE)


def _compared(found: pd.DataFrame) -> dict[str, str]:
    """Return both figures, their difference, and whether its interval holds zero."""
    apart = found["ours"] - found["theirs"]
    low, high = np.nanquantile(apart[1:], [0.025, 0.975])
    shown = {name: f"{values[0]:.3f} [{_range(values)}]" for name, values in found.items()}
    return {
        **{str(name): text for name, text in shown.items()},
        "ours less theirs": f"{apart[0]:+.3f} [{low:+.3f}, {high:+.3f}]",
        "agree": "yes" if low <= 0 <= high else "no",
    }


def _range(values: pd.Series) -> str:
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return f"{low:.3f}, {high:.3f}"


if __name__ == "__main__":
    main()
