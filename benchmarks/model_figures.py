"""What a stage-1 checkpoint learned, beside the same network with fresh weights and its input features alone.

    python benchmarks/model_figures.py CHECKPOINT SHARDS [--real MIRROR] [--worlds 40] [--trials 200]

CHECKPOINT is results/standard/checkpoints/stage1/cldtrans/seed-42, SHARDS the folder data/standard/shards
that it was trained on and whose held-out subjects are counted here; MIRROR is a folder laid out like
PhysioNet's bucket, in whose EEGMMIDB recordings discharges are planted. Prints tables in Markdown: lags and
edges on worlds of `simulate_ldsem` (another generator than the one of training), planted leads beside their
bound, codebook and reconstruction, and the contrasts with intervals (bootstrap over worlds or discharges, all
methods on the same draws).

fresh weights : evidence of least squares, the gate half open, and a network that adds nothing to the reading,
    whatever the seed
closed form : significance and lag of the refitted models by least squares, alone: the input features before
    anything is learned
fixed score : the same by a score chosen by hand, tanh(2 e / sigma), where that tells more than least squares;
    the strongest features without learning that we know
own evidence : the same by the checkpoint's learned score: what it has before the gate and the pair network
ridge : largest coefficient of each pair in a ridge regression on all channels' past, on the first worlds

Worlds come in two difficulties. In the plain ones ridge regression finds 0.90 to 0.95 of the edges' order;
in the narrow ones rhythms are so narrow that 10 s hold few independent samples, and `fit_ldsem` misses half
of the edges.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import focal_bound
import numpy as np
import torch
from focal_cases import draw_cases, in_batches, recordings
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm import tqdm

from cldtrans.data import get_dataset
from cldtrans.data.shards import ShardSet
from cldtrans.lag import fit_ldsem, simulate_ldsem
from cldtrans.models import CLDTrans
from cldtrans.models.lag_inference.evidence import Covariances, standardise
from cldtrans.models.lag_inference.innovations import LearnedScoreFunction, ScoreFunction, least_squares
from cldtrans.models.lag_inference.network import LagInference, Lags
from cldtrans.models.modality import RATE_HZ
from cldtrans.models.motifs import perplexity
from cldtrans.models.readouts import focal_scores
from cldtrans.training.objective import ldsem, snr_db
from cldtrans.training.stage1 import pretraining_rows

RATE, WINDOW_S, LAGS_S, TAU_MAX_S = 160.0, 10.0, (1 / 160, 0.25), 0.3
CHANNELS, SNR_DB = (6, 12, 24), (10.0, 5.0, 0.0)
SPECTRA = {"plain": ("AR", "seizure-like", "ECG-like"), "narrow": ("narrow seizure-like", "narrow ECG-like")}
RIDGE = 3000.0  # of unit-variance channels; the best of 100, 1000, 3000 on such worlds
RESAMPLES, BATCH = 500, 8
TANH = (-1.0, 0.0, 1.0, 0.0)  # what makes psi(u) = tanh(2 u) of the functions that a score combines


def poles(rng: np.random.Generator, kind: str) -> np.ndarray:
    """Draw the own past of one channel, 6 coefficients, for a kind of spectrum at 160 Hz."""

    def pair(radius: float, frequency_hz: float) -> list[complex]:
        turn = radius * np.exp(2j * np.pi * frequency_hz / RATE)
        return [turn, turn.conjugate()]

    if kind == "AR":  # any rhythms
        found = pair(rng.uniform(0.5, 0.9), rng.uniform(3, 28)) + pair(
            rng.uniform(0.3, 0.8), rng.uniform(5, 40)
        )
    elif kind.endswith("seizure-like"):  # 3-4 Hz with its harmonic
        base = rng.uniform(3, 4)
        radius, second = (0.97, 0.9) if "narrow" in kind else (0.88, 0.78)
        found = [*pair(radius, base), *pair(second, 2 * base)]
    else:  # slow waves and a complex of 8-15 Hz
        low = 0.85 if "narrow" in kind else 0.78
        found = [rng.uniform(low, low + 0.1), *pair(rng.uniform(low - 0.05, low + 0.05), rng.uniform(8, 15))]
    own = np.zeros(6)
    own[: len(found)] = -np.poly(found).real[1:]
    return own


@dataclass
class World:
    """One simulated window and its truth."""

    x: np.ndarray  # [C, T]
    support: np.ndarray  # [C, C]
    lag: np.ndarray  # [C, C] samples


def draw_world(n_channels: int, kind: str, seed: int) -> World:
    """Draw one 10-s window; heavy-tailed bursts drive the ECG-like ones."""
    rng = np.random.default_rng([seed, n_channels])
    own = np.stack([poles(rng, kind) for _ in range(n_channels)])
    innovation = "student" if kind.endswith("ECG-like") else "laplace"
    sample = simulate_ldsem(
        n_channels,
        WINDOW_S,
        RATE,
        n_windows=1,
        lag_range_s=LAGS_S,
        innovation=innovation,
        degrees_of_freedom=4.0,
        self_dynamics=own,
        seed=int(rng.integers(2**31)),
    )
    return World(sample.x[0], sample.support, np.nan_to_num(sample.tau) * RATE)


def ridge(x: np.ndarray) -> np.ndarray:
    """Return each pair's largest coefficient in the ridge regression of every channel on all others' lags.

    A regression of one variable on the rest is a column of the inverse of their Gram matrix.

    Parameters
    ----------
    x : array [C, T]
        One window.

    Returns
    -------
    array [C, C]
        Row = target.
    """
    n_channels = len(x)
    n_lags = round(TAU_MAX_S * RATE) + 1
    past = np.lib.stride_tricks.sliding_window_view(x / x.std(1, keepdims=True), n_lags, axis=1)
    regressors = past[..., ::-1].transpose(0, 2, 1).reshape(n_channels * n_lags, -1)
    precision = np.linalg.inv(regressors @ regressors.T + RIDGE * np.eye(len(regressors)))
    now = n_lags * np.arange(n_channels)
    return np.abs(precision[now] / precision[now, now, None]).reshape(n_channels, n_channels, n_lags).max(2)


Method = Callable[[Tensor, Tensor, Tensor | None], Lags]
"""Of windows [B, C, T] of EEG, their mask, and windows of their background [B, K, C, T], if known."""


def networks(checkpoint: Path) -> dict[str, Method]:
    """Return the five methods."""
    trained = CLDTrans.from_pretrained(str(checkpoint)).eval()
    fresh = CLDTrans(trained.config).eval()
    inference = trained.lag_inference
    assert isinstance(inference, LagInference)

    fixed = LearnedScoreFunction()
    fixed.out.bias.data.copy_(torch.tensor(TANH))

    def features(score: ScoreFunction, x: Tensor, mask: Tensor, background: Tensor | None) -> Lags:
        covariances = Covariances.of(*standardise(x.double(), mask), inference.max_lag("eeg"))
        evidence = covariances.evidence(inference.sources, score)[1].to(x.dtype)
        lags = fresh.lags(x, RATE, mask, "eeg", background)
        logit = 4.0 * (torch.log1p(evidence.score) - np.log(6.0))
        valid = lags.edge_probability > 0
        return replace(
            lags,
            tau=evidence.tau / RATE_HZ["eeg"],
            edge_logit=logit,
            edge_probability=torch.sigmoid(logit) * valid,
        )

    return {
        "trained": lambda x, mask, background: trained.lags(x, RATE, mask, "eeg", background),
        "fresh weights": lambda x, mask, background: fresh.lags(x, RATE, mask, "eeg", background),
        "closed form": partial(features, least_squares),
        "fixed score": partial(features, fixed),
        "own evidence": partial(features, inference.score),
    }


Interval = tuple[float, float, float]


@dataclass
class Contrast:
    """How much better the trained network is than another method, with its 95 % interval."""

    figure: str
    other: str
    n: int
    gain: Interval


def bootstrap(statistic: Callable[[np.ndarray], float], n: int) -> Interval:
    """Return value and 95 % percentile interval of a statistic of drawn positions."""
    rng = np.random.default_rng(0)
    low, high = np.nanpercentile([statistic(rng.integers(0, n, n)) for _ in range(RESAMPLES)], [2.5, 97.5])
    return statistic(np.arange(n)), float(low), float(high)


def cell(value: Interval) -> str:
    """Write a value with its interval."""
    return "{:.3f} [{:.3f}, {:.3f}]".format(*value)


Average = Callable[[np.ndarray], float]


@dataclass
class Reading:
    """What one method says of some worlds: scores of the pairs, lag errors of true edges, a world each."""

    scores: list[np.ndarray]
    errors: list[np.ndarray]

    def auroc(self, truth: list[np.ndarray], draw: np.ndarray) -> float:
        """Return the AUROC over all pairs of the drawn worlds."""
        scores = np.concatenate([self.scores[i] for i in draw])
        return float(roc_auc_score(np.concatenate([truth[i] for i in draw]), scores))

    def within(self, truth: list[np.ndarray]) -> np.ndarray:
        """Return the AUROC of each world by itself.

        It says what one window tells, however logits compare between windows.
        """
        pairs = zip(truth, self.scores, strict=True)
        return np.array([roc_auc_score(t, s) if 0 < t.mean() < 1 else np.nan for t, s in pairs])

    def error(self, average: Average, draw: np.ndarray) -> float:
        """Average the errors of the lags of all true edges of the drawn worlds."""
        return float(average(np.concatenate([self.errors[i] for i in draw])))


def read(infer: Method, worlds: list[World]) -> Reading:
    """Ask a method about worlds of one size."""
    x = torch.from_numpy(np.stack([world.x for world in worlds])).float()
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    parts = [infer(a, b, None) for a, b in zip(x.split(BATCH), mask.split(BATCH), strict=True)]
    logit = torch.cat([part.edge_logit for part in parts]).numpy()
    lag = torch.cat([part.tau for part in parts]).numpy() * RATE
    pairs = ~np.eye(x.shape[1], dtype=bool)
    return Reading(
        [score[pairs] for score in logit],
        [np.abs(found - world.lag)[world.support] for found, world in zip(lag, worlds, strict=True)],
    )


@torch.inference_mode()
def on_worlds(methods: dict[str, Method], n_worlds: int, n_fits: int) -> list[Contrast]:
    """Print edge AUROC and lag errors by number of channels; return the contrasts."""
    print("| channels | spectra | worlds | " + " | ".join(f"AUROC, {name}" for name in methods), end=" | ")
    print(
        "ridge | median lag error, samples | on edges fit_ldsem finds | fit_ldsem there |\n|"
        + "---|" * (7 + len(methods))
    )
    contrasts = []
    for n_channels in CHANNELS:
        pairs = ~np.eye(n_channels, dtype=bool)
        for difficulty, spectra in SPECTRA.items():
            truth: list[np.ndarray] = []
            readings = {name: Reading([], []) for name in methods}
            for kind in spectra:
                worlds = [draw_world(n_channels, kind, seed) for seed in range(n_worlds)]
                mine = [world.support[pairs] for world in worlds]
                here = {name: read(infer, worlds) for name, infer in methods.items()}
                for name, reading in here.items():
                    readings[name].scores.extend(reading.scores)
                    readings[name].errors.extend(reading.errors)
                truth += mine
                ours, fitted = beside_the_fit(worlds[:n_fits], here["trained"].errors)
                auroc = [here[name].auroc(mine, np.arange(n_worlds)) for name in methods]
                simple = [ridge(world.x)[pairs] for world in worlds[:n_fits]]
                order = Reading(simple, []).auroc(mine, np.arange(len(simple))) if simple else np.nan
                print(
                    f"| {n_channels} | {kind} | {n_worlds} | " + " | ".join(f"{a:.3f}" for a in auroc),
                    f"| {order:.3f} | {np.median(np.concatenate(here['trained'].errors)):.3f}",
                    f"| {ours:.3f} | {fitted:.3f} |",
                    flush=True,
                )
            n, trained = len(truth), readings["trained"]
            of_all = [bootstrap(partial(readings[name].auroc, truth), n) for name in methods]
            print(f"| {n_channels} | all {difficulty} | {n} | " + " | ".join(map(cell, of_all)), end="")
            print(f" | | {np.median(np.concatenate(trained.errors)):.3f} | | |", flush=True)
            for name in list(methods)[1:]:
                where = f"{difficulty}, {n_channels} channels"
                contrasts += worlds_contrasts(where, truth, trained, name, readings[name])
    print()
    return contrasts


def worlds_contrasts(
    where: str, truth: list[np.ndarray], trained: Reading, name: str, other: Reading
) -> list[Contrast]:
    """Contrast the trained network with another method on the same worlds."""
    n = len(truth)
    gain = bootstrap(lambda d: trained.auroc(truth, d) - other.auroc(truth, d), n)
    alone = bootstrap(partial(_mean, trained.within(truth) - other.within(truth)), n)
    median, mean = (
        bootstrap(partial(_less_error, average, trained, other), n) for average in (np.median, np.mean)
    )
    return [
        Contrast(f"edge AUROC of all windows' pairs, {where}", name, n, gain),
        Contrast(f"edge AUROC within a window, {where}", name, n, alone),
        Contrast(f"median lag error, samples less, {where}", name, n, median),
        Contrast(f"mean lag error, samples less, {where}", name, n, mean),
    ]


def beside_the_fit(worlds: list[World], errors: list[np.ndarray]) -> tuple[float, float]:
    """Return median lag errors in samples on the edges that `fit_ldsem` finds.

    Returns
    -------
    ours, fitted : float
        Of `errors`, and of the fit.
    """
    ours, fitted = [], []
    for world, error in zip(worlds, errors, strict=False):
        fit = fit_ldsem(world.x[None], RATE, TAU_MAX_S)
        found = fit.support[world.support]
        ours.append(error[found])
        fitted.append(np.abs(fit.tau * RATE - world.lag)[world.support][found])
    if not ours:
        return np.nan, np.nan
    return float(np.median(np.concatenate(ours))), float(np.median(np.concatenate(fitted)))


def print_contrasts(rows: list[Contrast]) -> None:
    """Print a row a figure, a column a method; bold where the interval lies above zero."""
    others = list(dict.fromkeys(row.other for row in rows))
    print("\n| figure | n | " + " | ".join(f"better than {name} by" for name in others) + " |")
    print("|" + "---|" * (2 + len(others)))
    for figure in dict.fromkeys(row.figure for row in rows):
        mine = {row.other: row for row in rows if row.figure == figure}
        cells = [f"**{cell(r.gain)}**" if r.gain[1] > 0 else cell(r.gain) for r in mine.values()]
        print(f"| {figure} | {next(iter(mine.values())).n} | " + " | ".join(cells) + " |")


@torch.inference_mode()
def planted_leads(methods: dict[str, Method], mirror: Path, trials: int) -> list[Contrast]:
    """Print top-1 of the leading channel of discharges planted in real EEG; return the contrasts.

    Beside the scores of lags and edges stand the trained network's posterior of the lead, both without the
    recording's other windows, and the bound of `focal_bound`.
    """
    quiet = recordings(mirror)
    batches = list(in_batches(quiet, draw_cases(quiet, "single", "3-4 Hz spikes", trials, 1, seed=7)))
    leads = [case.discharges[0].lead for batch in batches for case in batch.cases]
    right: dict[str, list[np.ndarray]] = {}

    def note(name: str, scores: Tensor) -> None:
        right.setdefault(name, []).append(scores.argmax(1).numpy())

    for level in SNR_DB:
        for batch in batches:
            x, background = torch.from_numpy(batch.planted(level)[:, 0]), torch.from_numpy(batch.background)
            mask = torch.ones(x.shape[:2], dtype=torch.bool)
            for name, infer in methods.items():
                found = infer(x, mask, background)
                note(name, focal_scores(found.tau, found.edge_probability, mask))
                if name == "trained":
                    note("posterior", found.lead)
                    alone = infer(x, mask, None)
                    note("without background", focal_scores(alone.tau, alone.edge_probability, mask))
                    note("posterior, without", alone.lead)
            for case, windows in zip(batch.cases, batch.quiet, strict=True):
                known = focal_bound.scores(windows[0], case.discharges[0], (level,))
                note("bound", torch.from_numpy(known))
    hits = {
        name: np.concatenate(named).reshape(len(SNR_DB), -1) == np.array(leads)
        for name, named in right.items()
    }
    print(
        "| planted lead in real EEG | windows | chance | " + " | ".join(f"top-1, {m}" for m in hits), end=""
    )
    print(" |\n|" + "---|" * (3 + len(hits)))
    contrasts = []
    for row, level in enumerate(SNR_DB):
        tops = [bootstrap(partial(_mean, hit[row].astype(float)), len(leads)) for hit in hits.values()]
        print(f"| {level:g} dB | {len(leads)} | {1 / x.shape[1]:.3f} | " + " | ".join(map(cell, tops)) + " |")
        for name in list(methods)[1:]:
            better = hits["trained"][row].astype(float) - hits[name][row]
            gain = bootstrap(partial(_mean, better), len(leads))
            contrasts.append(Contrast(f"planted lead top-1, {level:g} dB", name, len(leads), gain))
    print()
    return contrasts


def _less_error(average: Average, trained: Reading, other: Reading, draw: np.ndarray) -> float:
    return other.error(average, draw) - trained.error(average, draw)


def _mean(values: np.ndarray, draw: np.ndarray) -> float:
    return float(np.nanmean(values[draw]))


@torch.inference_mode()
def on_held_out(checkpoint: Path, shards: Path, at_most: int = 256) -> None:
    """Print codebook use, variance of the latents, reconstruction, and the likelihood with lags shuffled."""
    model = CLDTrans.from_pretrained(str(checkpoint)).eval()
    generator = torch.Generator().manual_seed(0)
    print(
        "| held-out subjects of | windows | patches | perplexity | latent variance, dead dimensions ", end=""
    )
    print("| reconstruction, dB | LD-SEM at tau, nats a sample | worse with tau shuffled ", end="")
    print("| at the models' lags | worse with these shuffled |\n|" + "---|" * 10)
    for name in json.loads((checkpoint / "training.json").read_text())["trained_on"]:
        if not (shards / name / "meta.json").is_file():
            continue
        windows = ShardSet(shards / name)
        rows, held = pretraining_rows(get_dataset(name).training_folds, windows, seed=42)
        rows = np.random.default_rng(0).permutation(rows[held])[:at_most]
        if not len(rows):
            continue
        codes, decibel, variance = [], [], []
        losses: dict[str, list[Tensor]] = {}
        for part in tqdm(np.array_split(rows, -(-len(rows) // BATCH)), desc=name, disable=None):
            x, mask = torch.from_numpy(windows.windows(part)), torch.from_numpy(windows.mask(part))
            encoding = model.encode(x, windows.rate_hz, mask, windows.modality)
            y = model.reconstruct(encoding)
            codes.append(encoding.codes.index[encoding.mask])
            decibel.append(snr_db(encoding, y))
            variance.append(encoding.path[encoding.mask].flatten(0, 1).var(0))
            tau_max_s = model.config.tau_max_s[windows.modality]  # type: ignore[index]
            arguments = (encoding.x, encoding.mask, encoding.lags, windows.modality, tau_max_s)
            order = torch.randperm(encoding.lags.tau[0].numel(), generator=generator)
            # Where the gate is open tau is the timeline's; weights belong to the lags of the models.
            of_models = encoding.lags.candidates[..., 0] * (encoding.lags.edge_probability > 0)
            for where, tau in (("tau", encoding.lags.tau), ("models", of_models)):
                shuffled = tau.flatten(1)[:, order].view_as(tau)
                losses.setdefault(where, []).append(ldsem(*arguments, tau=tau))
                losses.setdefault(f"{where}, shuffled", []).append(ldsem(*arguments, tau=shuffled))
        used, loss = torch.cat(codes), {key: torch.cat(parts).numpy() for key, parts in losses.items()}
        likelihoods = [
            f"{loss[where].mean():.4f} | "
            + cell(bootstrap(partial(_mean, loss[f"{where}, shuffled"] - loss[where]), len(rows)))
            for where in ("tau", "models")
        ]
        spread = torch.stack(variance).mean(0)
        print(
            f"| {name} | {len(rows)} | {used.numel()} |",
            f"{float(perplexity(used, model.config.codebook_size)):.0f} |",
            f"{float(spread.mean()):.3f}, {int((spread < 1e-3 * spread.mean()).sum())} of {len(spread)} |",
            f"{float(torch.cat(decibel).mean()):.2f} |",
            " | ".join(likelihoods) + " |",
            flush=True,
        )


def main() -> None:
    """Print every table that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--fits", type=int, default=10, help="worlds a row that fit_ldsem sees too")
    parser.add_argument("--trials", type=int, default=200)
    options = parser.parse_args()
    methods = networks(options.checkpoint)
    on_held_out(options.checkpoint, options.shards)
    contrasts = on_worlds(methods, options.worlds, options.fits)
    if options.real is not None:
        contrasts += planted_leads(methods, options.real, options.trials)
    print_contrasts(contrasts)


if __name__ == "__main__":
    main()
