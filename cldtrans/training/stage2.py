"""Stage 2: task heads on a pretrained model, by a linear probe and then, where asked, training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cldtrans.config import Config, LoopConfig, fingerprint
from cldtrans.data.base import Task
from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import budget_rows, load_split, split_rows
from cldtrans.errors import DataError
from cldtrans.files import SUMS, atomic_path, sha256_file, write_json
from cldtrans.methods.hazard_probe import HazardProbe
from cldtrans.methods.linear_probe import LinearProbe
from cldtrans.methods.probes import head_probe
from cldtrans.methods.search import quality
from cldtrans.methods.stored_features import read_features
from cldtrans.methods.tuning import Tuning
from cldtrans.methods.windows import LabelledWindows, in_batches
from cldtrans.models import CLDTrans
from cldtrans.models.heads import HeadSpec
from cldtrans.scoring.metrics import PRIMARY, classification
from cldtrans.training import distributed
from cldtrans.training.finished import settle
from cldtrans.training.loader import Batch
from cldtrans.training.loop import TrainingResult, run_training
from cldtrans.training.multitask import Labelled, train_together
from cldtrans.training.tasks import (
    BATCH,
    LabelledCorpus,
    class_weights,
    labelled_loop,
    pooled_features,
    probabilities,
    task_loss,
)

TESTED = 2048  # windows of a dataset, evenly spread


def predicted(
    model: CLDTrans, name: str, task: Task, windows: LabelledWindows, rows: np.ndarray
) -> tuple[np.ndarray, float | None]:
    """Predict probabilities [n, K] of some of the windows by the head `name`; and the ODE's evaluations."""
    parts, nfe = [np.zeros((0, len(task.classes)))], None
    for part in in_batches(len(rows), BATCH):
        which = rows[part]
        x, mask = windows.signals(which), windows.mask(which)
        modality = windows.shards.modality
        out = model.read(x, windows.rate_hz, mask, modality, task=name, positions=windows.channels)
        assert out.logits is not None
        parts.append(probabilities(out.logits.double(), task.kind))
        nfe = float(out.nfe)
    return np.concatenate(parts), nfe


def fit_head(
    model: CLDTrans,
    name: str,
    task: Task,
    modality: str,
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
) -> LinearProbe | HazardProbe:
    """Attach a head and set it to the linear probe of pooled features and labels; return the probe.

    Parameters
    ----------
    model : CLDTrans
        Gets the head.
    name : str
        Of the head.
    task : Task
        What it predicts.
    modality : one of "eeg", "ecg"
        Of the windows.
    train, val : (array [n, F], array [n] or [n, K])
        Features and labels; validation chooses the penalty.
    """
    probe = head_probe(task.kind, task.classes, model.shares(modality))
    probe.fit(*train, *val)
    head = model.attach_head(name, HeadSpec(task.kind, tuple(task.classes), modality))  # type: ignore[arg-type]
    weight, bias = probe.linear()
    head.set_linear(*(torch.as_tensor(value) for value in (probe.mean, probe.scale, weight, bias)))
    return probe


def finetune(
    model: CLDTrans,
    name: str,
    task: Task,
    modality: str,
    train: LabelledWindows,
    val: LabelledWindows,
    config: Config,
    seed: int,
    tuning: Tuning | None = None,
) -> TrainingResult:
    """Train the network and the head `name` on the task; the best weights on validation are kept."""
    loop = finetuning_loop(config)
    device = model.fill.weight.device
    if tuning is not None:
        tuning.prepare(model, [f"heads.{name}"])
    weight = torch.as_tensor(class_weights(train.y, task.kind, len(task.classes)), dtype=torch.float32)

    def logits_of(module: nn.Module, batch: Batch) -> Tensor:
        out = module(batch.x, batch.rate_hz, batch.mask, batch.modality, task=name, positions=train.channels)
        return out.logits

    def loss_fn(module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits = logits_of(module, batch)
        return {"loss": task_loss(logits, batch.data["y"], task.kind, weight.to(logits), task.classes)}

    def validate(module: nn.Module) -> dict[str, float]:
        """Judge by the task's primary metric, as every method is; by the loss where it is not defined."""
        total, every = 0.0, []
        for start in range(0, len(val), BATCH):
            which = np.arange(start, min(len(val), start + BATCH))
            arrays = LabelledCorpus(val, name, modality).load(which, np.random.default_rng(0))
            data = {key: torch.from_numpy(value) for key, value in arrays.items()}
            batch = Batch(0, name, modality, val.rate_hz, data).to(device, torch.float32)
            logits = logits_of(module, batch)
            loss = task_loss(logits, batch.data["y"], task.kind, weight.to(logits), task.classes)
            total += len(which) * float(loss)
            every.append(logits.double().cpu())
        proba = probabilities(torch.cat(every), task.kind)
        found, mean = quality(task.kind, task.classes, val.y, proba), total / len(val)
        return {"loss": mean if found is None else -found, "mean": mean}

    def update(module: nn.Module) -> None:
        if tuning is None:  # a strategy may look at a batch several times: it leaves the codebooks alone
            module.update_codebooks()  # type: ignore[operator]

    result = run_training(
        model,
        loss_fn,
        [LabelledCorpus(train, name, modality)],
        loop,
        seed=seed,
        device=device,
        validate=validate if len(val) else None,
        step_end=update,
        name=f"fine-tuning {name}",
        tuning=tuning,
    )
    if tuning is not None:
        tuning.finish(model)
    return result


def finetuning_loop(config: Config) -> LoopConfig:
    """Return the training loop's settings for fine-tuning, which keeps no checkpoint on its way."""
    steps = config.stage2.finetune_steps
    return labelled_loop(config, steps).model_copy(update={"checkpoint_every": steps})


def adapt(
    model: CLDTrans,
    task: Task,
    train: LabelledWindows,
    val: LabelledWindows,
    config: Config,
    *,
    modality: str,
    name: str = "task",
    seed: int = 0,
    tuning: Tuning | None = None,
) -> TrainingResult | None:
    """Give `model` a head for a task: a linear probe, then `finetune_steps`, of all weights by default."""
    model.eval()
    fit_head(
        model,
        name,
        task,
        modality,
        (pooled_features(model, train, modality), train.y),
        (pooled_features(model, val, modality), val.y),
    )
    if config.stage2.finetune_steps == 0:
        return None
    result = finetune(model, name, task, modality, train, val, config, seed, tuning)
    model.eval()
    return result


def train_stage2(
    config: Config,
    name: str,
    seed: int,
    shards: Path,
    splits: Path,
    features: Path,
    checkpoint: Path,
    output: Path,
    work_dir: Path | None = None,
    code: str | None = None,
) -> None:
    """Give a stage-1 checkpoint one head a labelled dataset, by all its training labels.

    Heads are linear probes. In the mode `multitask` graph ODE and attention then learn all tasks at once; the
    record says how both predict windows of test subjects, which decide nothing.

    Parameters
    ----------
    config : Config
        Settings of the run.
    name : str
        The variant.
    seed : int
        Of split and training.
    shards : Path
        Folder of the datasets' shard folders.
    splits : Path
        Folder of `<dataset>/seed-<s>.csv`.
    features : Path
        Holds `<dataset>/<variant>/seed-<s>.npz`.
    checkpoint : Path
        Folder of the stage-1 model.
    output : Path
        Checkpoint folder to write.
    work_dir : Path, optional
        Scratch folder for rolling checkpoints of the training.
    code : str, optional
        As of `train_stage1`.
    """
    model = CLDTrans.from_pretrained(str(checkpoint)).eval()
    with distributed.process_group() as device:
        heads: dict[str, Any] = {}
        notes: list[str] = []
        tasks: dict[str, Labelled] = {}
        held: dict[str, LabelledWindows] = {}
        for dataset in tqdm(config.stage2.datasets, desc="heads", disable=None):
            windows = ShardSet(shards / dataset)
            if windows.reason is not None or windows.task is None:
                notes.append(f"{dataset}: no head ({windows.reason or 'no labels'})")
                continue
            split = load_split(splits / dataset / f"seed-{seed}.csv")
            pooled = read_features(features / dataset / name / f"seed-{seed}.npz")["features"]
            if len(pooled) != len(windows):
                raise DataError(
                    f"features of {dataset} hold {len(pooled)} windows, its index {len(windows)}; "
                    "make them again"
                )
            rows = [budget_rows(windows, split, "1.0", seed)]
            rows += [split_rows(windows, split, side) for side in ("val", "test")]
            train, val, test = (LabelledWindows(windows, some, pooled) for some in rows)
            if len(train) == 0 or len(np.unique(train.y)) < 2:
                notes.append(f"{dataset}: no head (training windows hold fewer than two classes)")
                continue
            seen, checked = ((part.features, part.y) for part in (train, val))
            probe = fit_head(model, dataset, windows.task, windows.modality, seen, checked)
            heads[dataset] = {"penalty": probe.penalty, "windows": len(train), "notes": probe.notes}
            heads[dataset]["test, linear head"] = scored(model, dataset, windows.task, test)
            tasks[dataset], held[dataset] = Labelled(windows.task, train, val), test
        for note in notes:
            tqdm.write(f"stage 2: {note}")
        record: dict[str, Any] = {"heads": heads, "notes": notes}
        stage, scratch = "2, linear heads with all training labels", None
        if config.stage2.mode == "multitask" and tasks:
            stage = "2, graph ODE, attention and heads with all training labels"
            sums = sha256_file(checkpoint / SUMS)
            settings = fingerprint(config.stage2, config.loop, list(tasks), seed, sums)
            scratch = None if work_dir is None else work_dir / settings[:12]
            result = train_together(
                model,
                tasks,
                config,
                seed=seed,
                device=device,
                work_dir=scratch,
                settings_sha256=settings,
                name=f"stage 2 {name} seed {seed}",
            )
            model.to("cpu").eval()
            record["training"] = result.to_json()
            if distributed.is_main():
                for dataset, test in held.items():
                    found = scored(model, dataset, tasks[dataset].task, test)
                    heads[dataset]["test, trained together"] = found
        if not distributed.is_main():
            return
        model.describe(stage=stage, heads=", ".join(heads) or "none")
        with atomic_path(output) as folder:
            model.save_pretrained(folder)
            write_json(folder / "training.json", record)
        if work_dir is not None:
            settle(work_dir, scratch, code)


def scored(model: CLDTrans, name: str, task: Task, windows: LabelledWindows) -> dict[str, Any]:
    """Score the head `name` on at most `TESTED` windows: the task's primary metric, interval, chance, n."""
    n = len(windows)
    every = np.unique(np.linspace(0, n - 1, TESTED).round().astype(int)) if n else np.arange(0)
    proba, _ = predicted(model, name, task, windows, every)
    scores = classification(task.kind, task.classes, windows.y[every], proba, windows.subjects[every])
    metric = PRIMARY[task.kind]
    return {
        "metric": metric,
        "value": scores.metrics[metric],
        "ci95": scores.ci95.get(metric),
        "chance": scores.chance.get(metric),
        "windows": len(every),
        "subjects": len(np.unique(windows.subjects[every])),
    }
