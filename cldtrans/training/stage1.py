"""Stage 1: pretraining without labels on real windows, and on simulated worlds whose lags are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cldtrans.config import (
    Config,
    DatasetClassConfig,
    LoopConfig,
    ModelConfig,
    Stage1Config,
    fingerprint,
    variant,
)
from cldtrans.data import chosen_dataset
from cldtrans.data.shards import ShardSet
from cldtrans.errors import DataError
from cldtrans.files import atomic_path, write_json
from cldtrans.lag.fourier import transforms_on
from cldtrans.models.cldtrans import CLDTrans
from cldtrans.models.modality import PATCH, RATE_HZ
from cldtrans.models.motifs import perplexity
from cldtrans.training import distributed, objective
from cldtrans.training.finished import settle
from cldtrans.training.loader import Batch, Corpus, ShardCorpus
from cldtrans.training.loop import TrainingResult, run_training
from cldtrans.training.probing import Probe
from cldtrans.training.worlds import WorldCorpus

HELD_OUT = 0.1  # share of subjects whose windows only validate
VALIDATION_WORLDS = 32
LIKELIHOOD_SHARE = 4  # training takes the likelihood of one window in so many
SOURCE_SHARE = 4  # and looks for one source in one of so many real windows
SMOOTHNESS_SHARE = 16  # and looks at the later half, by itself, of one in so many
VALIDATION_STEP = 1 << 40  # numbers steps of validation: never one of training


class Objective:
    """The loss of a batch: of real windows, or of simulated ones."""

    def __init__(self, settings: Stage1Config):
        self.settings, self.weights = settings, settings.weights

    def __call__(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the mean of each term over the batch's windows, and their weighted sum `loss`."""
        assert isinstance(module, CLDTrans)
        terms = self.worlds(module, batch) if "edge" in batch.data else self.windows(module, batch)
        means = {name: value.mean() for name, value in terms.items()}
        weighted = [weight * means[name] for name, weight in self.weights.items() if name in means and weight]
        return {"loss": torch.stack(weighted).sum(), **means}

    def windows(self, model: CLDTrans, batch: Batch) -> dict[str, Tensor]:
        """Compute the terms of real windows."""
        signal = self._crop(batch)
        n_samples = math.ceil(signal.shape[-1] * RATE_HZ[batch.modality] / batch.rate_hz)
        n_steps = objective.control_steps(-(-n_samples // PATCH[batch.modality]))
        hide = objective.hidden_steps(
            (batch.x.shape[1], n_steps), self.settings.mask_fraction, batch.step, batch.x.device
        )
        look = torch.zeros(len(batch), dtype=torch.bool, device=batch.x.device)
        look[_some(batch, SOURCE_SHARE if model.training else 1)] = True
        encoding = model.encode(
            signal, batch.rate_hz, batch.mask, batch.modality, hide.expand(len(batch), *hide.shape), look=look
        )
        y = model.reconstruct(encoding)
        with torch.autocast(batch.x.device.type, enabled=False):
            x, mask, lags = encoding.x, encoding.mask, encoding.lags
            sizes = objective.STFT_SIZES
            y, path = y.to(x.dtype), encoding.path.to(x.dtype)
            terms = {
                "waveform": objective.waveform(x, y, mask),
                "spectrum": objective.spectrum(x, y, mask, sizes[batch.step % len(sizes)]),
                "commitment": objective.channel_mean(encoding.codes.distance.to(x.dtype), mask),
                "energy": encoding.trajectory.energy,
                "fill": objective.fill(model.fill(encoding.trajectory.states), path, hide, mask),
            }
            if model.context is not None and self.weights["masked"]:
                spans = objective.hidden_spans(
                    (x.shape[1], encoding.codes.index.shape[2]),
                    self.settings.span_fraction,
                    batch.step,
                    batch.x.device,
                )

                def masked(some: slice) -> Tensor:
                    hidden = spans.expand(len(x[some]), *spans.shape)
                    places = None if batch.places is None else batch.places[some]
                    guess = model.fill_spans(
                        x[some], hidden, lags.of(some), mask[some], batch.modality, places
                    )
                    return objective.masked(x[some], guess, hidden, mask[some])

                terms["masked"] = _sampled(batch, self.settings.spans_every if model.training else 1, masked)
            if model.config.lag != "none":
                tau_max_s = model.config.tau_max_s[batch.modality]  # type: ignore[index]

                def ldsem(some: slice) -> Tensor:
                    return objective.ldsem(x[some], mask[some], lags.of(some), batch.modality, tau_max_s)

                def smoothness(some: slice) -> Tensor:
                    later = model.lag_inference(x[some, :, x.shape[-1] // 2 :], mask[some], batch.modality)
                    return objective.smoothness(lags.of(some), later, tau_max_s)

                terms["ldsem"] = _sampled(batch, LIKELIHOOD_SHARE if model.training else 1, ldsem)
                terms["innovations"] = objective.channel_mean(lags.matching, mask)
                terms["sparsity"] = objective.sparsity(lags, mask)
                if model.training and self.weights["smoothness"]:
                    terms["smoothness"] = _sampled(batch, SMOOTHNESS_SHARE, smoothness)
        size = model.config.codebook_size
        terms["perplexity"] = perplexity(encoding.codes.index[mask], size).to(x.dtype).expand(len(x))
        terms["latent_variance"] = path.detach().var(2).mean((1, 2))
        terms["nfe"] = torch.full_like(terms["latent_variance"], encoding.trajectory.nfe)
        return terms

    def _crop(self, batch: Batch) -> Tensor:
        """Cut a stretch out of every window, the same for a step's windows."""
        if self.settings.crop_s is None:
            return batch.x
        length = min(batch.x.shape[-1], round(self.settings.crop_s * batch.rate_hz))
        last = batch.x.shape[-1] - length
        start = int(np.random.default_rng(batch.step).integers(0, last, endpoint=True))
        return batch.x[..., start : start + length]

    def worlds(self, model: CLDTrans, batch: Batch) -> dict[str, Tensor]:
        """Compute the terms of simulated windows: the lag network alone sees them."""
        data = batch.data
        quiet = data.get("background")
        lags = model.lags(batch.x, batch.rate_hz, batch.mask, batch.modality, quiet)
        with torch.autocast(batch.x.device.type, enabled=False):
            return {
                "edge": objective.edges(lags, data["edge"], data["known"], batch.mask),
                "lag": objective.true_lags(lags, data["edge"], data["lag_s"], batch.rate_hz),
                "lead": objective.leads(lags, data["lead"], batch.mask),
                "innovations": objective.channel_mean(lags.matching, batch.mask),
            }


def _sampled(batch: Batch, share: int, term: Callable[[slice], Tensor]) -> Tensor:
    """Return `term` of one window in `share` of all that training sees, for all of them: [B]."""
    some = _some(batch, share)
    values = batch.x.new_zeros(len(batch))
    if len(values[some]):
        values[some] = share * term(some)
    return values


def _some(batch: Batch, share: int) -> slice:
    """Choose one window in `share`, counted over ranks, micro-batches and steps: none of these changes it."""
    return slice(-batch.first % share, None, share)


@dataclass
class Corpora:
    """What stage 1 trains and validates on."""

    train: list[Corpus]
    weights: list[float]
    validation: list[ShardCorpus]  # held-out subjects
    worlds: list[WorldCorpus]  # held-out simulated windows
    notes: list[str]
    fingerprints: dict[str, str]

    def loop(self, loop: LoopConfig) -> LoopConfig:
        """Return the loop's settings with as many steps as its epochs of the real windows take."""
        real = [(len(c), share) for c, share in zip(self.train, self.weights, strict=True) if _is_real(c)]
        steps = loop.n_steps(sum(n for n, _ in real), sum(share for _, share in real))
        return loop.model_copy(update={"steps": steps})


def _is_real(corpus: Corpus) -> bool:
    return isinstance(corpus, ShardCorpus)


def open_corpora(
    settings: Stage1Config,
    network: ModelConfig,
    shards: Path,
    seed: int,
    own: Mapping[str, DatasetClassConfig] | None = None,
) -> Corpora:
    """Open training and held-out windows of every corpus that is there.

    Parameters
    ----------
    settings : Stage1Config
        Names the corpora.
    network : ModelConfig
        Limits the lags of simulated worlds.
    shards : Path
        Folder of the datasets' shard folders.
    seed : int
        Of the division and of the worlds.
    own : mapping, optional
        `dataset_classes` of the config.

    Raises
    ------
    DataError
        If none is.
    """
    found = Corpora([], [], [], [], [], {})
    for name in settings.datasets:
        folder = shards / name
        windows = ShardSet(folder) if (folder / "meta.json").is_file() else None
        reason = f"no shards in {folder}" if windows is None else windows.reason
        if windows is None or reason is not None:
            found.notes.append(f"{name}: left out ({reason})")
            continue
        folds = chosen_dataset(name, own or {}).training_folds
        rows, held = pretraining_rows(folds, windows, seed)
        if not held.any():
            found.notes.append(f"{name}: one subject, so it trains without validation")
        choose = _subset(settings.max_channels)
        found.train.append(ShardCorpus(name, windows, rows[~held], choose_channels=choose))
        found.fingerprints[name] = windows.fingerprint
        if held.any():
            rng = np.random.default_rng([seed, 11])
            few = np.sort(rng.permutation(rows[held])[: settings.validation_windows])
            found.validation.append(ShardCorpus(name, windows, few, choose_channels=choose))
    if not found.train:
        raise DataError(
            f"stage 1 has no corpus to train on: {'; '.join(found.notes)}; preprocess at least one of "
            f"{', '.join(settings.datasets)}"
        )
    add_worlds(found, settings, network, seed)
    return found


def add_worlds(found: Corpora, settings: Stage1Config, network: ModelConfig, seed: int) -> None:
    """Share the steps among the real corpora, and simulated worlds of their modalities."""
    simulated = settings.simulator_fraction if network.lag != "none" else 0.0
    found.weights = [(1.0 - simulated) / len(found.train)] * len(found.train)
    modalities = sorted({corpus.modality for corpus in found.train})
    if simulated > 0:
        for modality in modalities:
            tau_max_s = network.tau_max_s[modality]  # type: ignore[index]
            real = next(corpus for corpus in found.train if corpus.modality == modality)
            background = real if isinstance(real, ShardCorpus) else None
            found.train.append(WorldCorpus(modality, tau_max_s, seed, background))
            found.weights.append(simulated / len(modalities))
            found.worlds.append(WorldCorpus(modality, tau_max_s, seed + 1))


def pretraining_rows(
    folds: Collection[int] | None, windows: ShardSet, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a dataset that pretraining uses, and which of them only validate.

    Parameters
    ----------
    folds : collection of int or None
        Official folds that it may see; None: all.
    windows : ShardSet
        Its windows.
    seed : int
        Of the division of subjects.

    Returns
    -------
    rows : array [n] of int64
        Positions in the index.
    held_out : array [n] of bool
        True for windows of held-out subjects.
    """
    index = windows.index
    use = (index["kind"] == "grid").to_numpy()
    if folds is not None:
        use = use & index["fold"].isin(list(folds)).to_numpy()
    rows = np.flatnonzero(use)
    return rows, _held_out(index["subject"].to_numpy()[rows].astype(str), seed)


def _held_out(subjects: np.ndarray, seed: int) -> np.ndarray:
    """Find rows of the subjects that only validate: a tenth of them, at least one where there are two."""
    names = np.unique(subjects)
    if len(names) < 2:
        return np.zeros(len(subjects), dtype=bool)
    chosen = np.random.default_rng([seed, 7]).permutation(names)[: max(1, round(HELD_OUT * len(names)))]
    return np.isin(subjects, chosen)


def _subset(limit: int | None) -> Any:
    """Draw at most `limit` channels a batch."""
    if limit is None:
        return None

    def choose(rng: np.random.Generator, n_channels: int) -> np.ndarray:
        return np.sort(rng.permutation(n_channels)[:limit])

    return choose


class Validation:
    """The loss on held-out subjects, and lags on held-out simulated worlds."""

    def __init__(
        self, loss: Objective, corpora: Corpora, batch_size: int, device: torch.device, probe: Probe
    ):
        self.loss, self.corpora, self.batch_size, self.device = loss, corpora, batch_size, device
        self.probe = probe

    def __call__(self, module: nn.Module) -> dict[str, float]:
        """Return means over windows, `loss` the mean of the corpora's; and what a probe reads."""
        dtype = next(module.parameters()).dtype
        rows: dict[str, list[tuple[float, int]]] = {}
        for number, corpus in enumerate(self._all()):
            n = VALIDATION_WORLDS if isinstance(corpus, WorldCorpus) else len(corpus)
            for start in range(0, n, self.batch_size):
                which = np.arange(start, min(n, start + self.batch_size))
                arrays = corpus.load(which, np.random.default_rng([number, start]))
                data = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in arrays.items()}
                batch = Batch(VALIDATION_STEP, corpus.name, corpus.modality, corpus.rate_hz, data)
                values = self.loss(module, batch.to(self.device, dtype))
                for key, value in values.items():
                    name = f"{key}/{corpus.name}"
                    rows.setdefault(name, []).append((float(value), len(which)))
        means = {
            name: sum(v * n for v, n in pairs) / sum(n for _, n in pairs) for name, pairs in rows.items()
        }
        losses = [value for name, value in means.items() if name.startswith("loss/")]
        return {"loss": float(np.mean(losses)), **means, **self.probe(module)}

    def _all(self) -> Sequence[ShardCorpus | WorldCorpus]:
        return [*self.corpora.validation, *self.corpora.worlds]


def train_stage1(
    config: Config,
    name: str,
    seed: int,
    shards: Path,
    output: Path,
    work_dir: Path,
    log_dir: Path | None = None,
    code: str | None = None,
) -> TrainingResult | None:
    """Train one variant and save it to `output`.

    Parameters
    ----------
    config : Config
        Settings of the run.
    name : str
        The variant.
    seed : int
        Of everything random.
    shards : Path
        Folder of the datasets' shard folders.
    output : Path
        Checkpoint folder to write.
    work_dir : Path
        Holds the rolling checkpoints, one folder for each set of settings, until training is done.
    log_dir : Path, optional
        TensorBoard event files.
    code : str, optional
        Hash of the code that trains; where it is given, the last checkpoint stays in `work_dir`, so that the
        job can be done again at once.

    Returns
    -------
    TrainingResult or None
        The result on the rank that writes, None on the others.
    """
    model_settings, settings = variant(config, name)
    corpora = open_corpora(settings, model_settings, shards, seed, config.dataset_classes)
    loop = corpora.loop(config.loop)
    settings_sha256 = fingerprint(model_settings, settings, loop, corpora.fingerprints, seed)
    with distributed.process_group() as device, transforms_on(config.fft):
        for note in corpora.notes:
            if distributed.is_main():
                tqdm.write(f"stage 1: {note}")
        torch.manual_seed(seed)
        model = CLDTrans(model_settings)
        loss = Objective(settings)
        folds = {
            dataset: chosen_dataset(dataset, config.dataset_classes).training_folds
            for dataset in settings.probe
            if dataset in config.datasets
        }
        probe = Probe(folds, shards, settings.validation_windows, seed)
        validate = Validation(loss, corpora, loop.micro_batch, device, probe) if corpora.validation else None
        result = run_training(
            model,
            loss,
            corpora.train,
            loop,
            seed=seed,
            device=device,
            weights=corpora.weights,
            validate=validate,
            step_end=lambda module: module.update_codebooks(),  # type: ignore
            work_dir=work_dir / settings_sha256[:12],
            log_dir=log_dir,
            config_sha256=settings_sha256,
            name=f"stage 1 {name} seed {seed}",
        )
        if not distributed.is_main():
            return None
        save(model, result, output, corpora, loop, settings, name, seed)
        settle(work_dir, work_dir / settings_sha256[:12], code)
        return result


def save(
    model: CLDTrans,
    result: TrainingResult,
    output: Path,
    corpora: Corpora,
    loop: LoopConfig,
    settings: Stage1Config,
    name: str,
    seed: int,
) -> None:
    """Write the checkpoint folder: weights, config, model card, training.json."""
    trained_on = [corpus.name for corpus in corpora.train]
    model.describe(
        stage="1, without labels",
        variant=name,
        seed=seed,
        trained_on=", ".join(trained_on),
        simulated_worlds=f"{settings.simulator_fraction:.0%} of steps",
        steps=result.steps,
        windows_a_step=loop.batch_size,
    )
    model.to("cpu").eval()
    model.settle()
    with atomic_path(output) as folder:
        model.save_pretrained(folder)
        record = {**result.to_json(), "notes": corpora.notes, "trained_on": trained_on}
        write_json(folder / "training.json", record)
