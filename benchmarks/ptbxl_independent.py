"""The other side of benchmarks/ptbxl_agreement.py: public implementations, in an environment of their own.

    python ptbxl_independent.py data.npz scores.npz METHOD [--steps N] [--batch N]

Nothing of cldtrans is imported. METHOD is one of `random_kernels` (MiniRocket by aeon, ridge regression by
scikit-learn with leave-one-out penalty), `feature_linear` (R peaks by NeuroKit2, moments by scipy, logistic
regression by scikit-learn, its penalty by validation), `inception_time` (sktime's network, Adam, the
last step's weights).
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

BEAT_S, POINTS = (-0.25, 0.45), 30
Fold = tuple[np.ndarray, np.ndarray, np.ndarray]


def mini_rocket(x: np.ndarray, y: np.ndarray, fold: Fold, seed: int) -> np.ndarray:
    """Fit the transform and a ridge classifier a label on training and validation; score the test windows."""
    from aeon.transformations.collection.convolution_based import MiniRocket

    train, val, test = fold
    both = np.sort(np.concatenate([train, val]))  # leave-one-out chooses the penalty
    transform = make_pipeline(MiniRocket(random_state=seed), StandardScaler())
    z, z_test = transform.fit_transform(x[both]), transform.transform(x[test])
    return _each(y[both], lambda k: RidgeClassifierCV(np.logspace(-3, 5, 17)).fit(z, y[both, k]), z_test)


def features(x: np.ndarray, rate_hz: float) -> np.ndarray:
    """Describe ECGs x [n, 12, T]: the median beat of each lead, its moments, and intervals between beats."""
    import neurokit2 as nk
    from scipy.stats import kurtosis, skew

    rows = []
    for record in x:
        row = np.full((len(record), POINTS), np.nan)
        try:
            cleaned = nk.ecg_clean(record[1], sampling_rate=int(rate_hz))  # lead II
            peaks = np.asarray(nk.ecg_peaks(cleaned, sampling_rate=int(rate_hz))[1]["ECG_R_Peaks"])
        except (ValueError, IndexError, ZeroDivisionError):
            peaks = np.zeros(0)
        offsets = np.linspace(*BEAT_S, POINTS) * rate_hz
        inside = [peak for peak in peaks if peak + offsets[0] >= 0 and peak + offsets[-1] < record.shape[1]]
        if inside:
            at = np.arange(record.shape[1])
            beats = [[np.interp(peak + offsets, at, lead) for lead in record] for peak in inside]
            row = np.median(beats, axis=0)
        interval = np.diff(peaks) / rate_hz
        rhythm = [np.nan] * 4
        if len(interval) > 1:
            change = np.diff(interval)
            rhythm = [interval.mean(), interval.std(), np.sqrt(np.mean(change**2)), np.ptp(interval)]
        moments = [np.log(record.std(1) + 1e-9), skew(record, axis=1), np.log(kurtosis(record, axis=1) + 4)]
        rows.append(np.concatenate([row.ravel(), *moments, rhythm]))
    return np.stack(rows)


def logistic(z: np.ndarray, y: np.ndarray, fold: Fold) -> np.ndarray:
    """Fit a logistic regression a label; the penalty is that of the best mean AUROC on validation."""
    train, val, test = fold
    best, scores = -1.0, np.zeros((len(test), y.shape[1]))
    for penalty in np.logspace(-5, 1, 7):

        def fitted(k: int, penalty: float = penalty) -> object:
            model = make_pipeline(
                SimpleImputer(),
                StandardScaler(),
                LogisticRegression(C=penalty, class_weight="balanced", max_iter=2000),
            )
            return model.fit(z[train], y[train, k])

        both = _each(y[train], fitted, z[np.concatenate([val, test])])
        quality = np.mean(
            [
                roc_auc_score(y[val, k], both[: len(val), k])
                for k in range(y.shape[1])
                if 0 < y[val, k].sum() < len(val)
            ]
        )
        if quality > best:
            best, scores = quality, both[len(val) :]
    return scores


def inception(x: np.ndarray, y: np.ndarray, fold: Fold, seed: int, steps: int, batch: int) -> np.ndarray:
    """Train sktime's network by Adam, its rate falling as a cosine; score the test windows."""
    import torch
    from sktime.networks.inceptiontime import InceptionTimeNetworkTorch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    train, _, test = fold
    relu = torch.nn.ReLU()
    network = InceptionTimeNetworkTorch(
        x.shape[1], y.shape[1], activation_hidden=relu, activation_inception=None
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    given, truth = torch.from_numpy(x).float().transpose(1, 2), torch.from_numpy(y).float()
    order: list[int] = []
    for _ in range(steps):
        if len(order) < batch:
            order += rng.permutation(train).tolist()
        rows, order = order[:batch], order[batch:]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(given[rows]), truth[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        return network(given[test]).numpy()


def _each(y: np.ndarray, fit: Callable[[int], object], z: np.ndarray) -> np.ndarray:
    """Score z by one fitted model a label; zero where training shows one class alone."""
    scores = np.zeros((len(z), y.shape[1]))
    for k in range(y.shape[1]):
        if 0 < y[:, k].sum() < len(y):
            scores[:, k] = fit(k).decision_function(z)  # type: ignore[attr-defined]
    return scores


def main() -> None:
    """Score every fold of one method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("scores")
    parser.add_argument("method", choices=["random_kernels", "feature_linear", "inception_time"])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    data = np.load(args.data)
    x, y, fold_of = data["slow"], data["y"], data["fold"]
    n_folds = fold_of.max() + 1
    described = features(data["fast"], float(data["fast_hz"])) if args.method == "feature_linear" else None
    scores = np.zeros(y.shape)
    for k in range(n_folds):
        test, val = np.flatnonzero(fold_of == k), np.flatnonzero(fold_of == (k + 1) % n_folds)
        fold = np.flatnonzero((fold_of != k) & (fold_of != (k + 1) % n_folds)), val, test
        if described is not None:
            scores[test] = logistic(described, y, fold)
        elif args.method == "random_kernels":
            scores[test] = mini_rocket(x, y, fold, k)
        else:
            scores[test] = inception(x, y, fold, k, args.steps, args.batch)
    np.savez(args.scores, scores=scores)


if __name__ == "__main__":
    main()
