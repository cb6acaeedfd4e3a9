"""The training loop: any module, any corpora, one process or many, resumable at any step.

Limited by steps, never by the clock. Everything random in a step follows from (seed, step, rank), so a run
that is killed and resumed ends with the same bits (on the CPU), and R ranks together compute what one process
would compute from the same global batch.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cldtrans.config import LoopConfig
from cldtrans.errors import ConfigError
from cldtrans.training import distributed
from cldtrans.training.checkpoint import Checkpoint, CheckpointFolder, CheckpointMemory, Groups
from cldtrans.training.guard import DivergenceError, DivergenceGuard, Preempted, StopRequest
from cldtrans.training.loader import Batch, Corpus, Loader, step_seed
from cldtrans.training.optimiser import (
    AveragedWeights,
    build_optimiser,
    learning_rate,
    load_optimiser,
    optimiser_tensors,
)
from cldtrans.training.progress import Progress, Recorder
from cldtrans.training.sampler import MixedSampler

LossFunction = Callable[[nn.Module, Batch], dict[str, Tensor]]
LONG_RUN_S = 120.0  # what is expected to take longer gets a line that says how long
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """What a run did; the trained weights are in the module."""

    steps: int
    stopped: str  # "steps" | "early"
    best_step: int | None  # of the weights returned, where there was a validation
    best_value: float | None
    skipped: list[int]
    step_ms: float | None
    parameters: int
    history: list[dict[str, float | None]] = field(repr=False)
    validations: list[dict[str, float | None]] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """For `training.json`."""
        return asdict(self)


def run_training(
    module: nn.Module,
    loss_fn: LossFunction,
    corpora: Sequence[Corpus],
    loop: LoopConfig,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    weights: Sequence[float] | None = None,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    step_end: Callable[[nn.Module], None] | None = None,
    work_dir: Path | None = None,
    log_dir: Path | None = None,
    config_sha256: str = "",
    name: str = "training",
) -> TrainingResult:
    """Train `module` in place, resuming from `work_dir` where it holds a checkpoint.

    Parameters
    ----------
    module : moved to `device`, trained in its parameters' dtype; parameters with requires_grad=False stay
    loss_fn : module, micro-batch -> named scalars; `loss` is differentiated, the others are logged. Each must
        be a mean over windows, or accumulation and ranks would change its meaning. Autocast is on for "bf16".
    corpora : what batches are drawn from, one corpus a batch
    loop : steps, batch sizes, optimiser
    seed : of batches and of everything random inside a step
    weights : share of steps a corpus; default by its number of windows
    validate : module in eval mode, without gradients -> numbers, of which `loss` decides (lower is better).
        Called on every rank; rank 0's numbers count. The best weights are the ones returned.
    step_end : called after each optimiser step, on every rank: the place to all-reduce and apply codebook
        statistics gathered over the micro-batches (`distributed.all_reduce_sum_`)
    work_dir : scratch folder for rolling checkpoints, seen by all ranks; None: nothing is kept on disk
    log_dir : TensorBoard event files
    config_sha256 : of all settings that shape the result; a checkpoint with another one is refused
    name : for messages and the progress bar

    Raises
    ------
    DivergenceError
        When training diverges again after one rollback.
    Preempted
        After SIGTERM, once a checkpoint is written (exit code 75).
    """
    trainer = _Trainer(module, loss_fn, corpora, loop, seed, torch.device(device), weights, name)
    trainer.validate, trainer.step_end = validate, step_end
    folder = CheckpointFolder(work_dir, config_sha256) if work_dir is not None else None
    with contextlib.ExitStack() as stack:
        if folder is not None and distributed.is_main():
            folder.lock()
            stack.callback(folder.unlock)
        trainer.store = folder or CheckpointMemory()
        stack.enter_context(trainer.stop.listening())
        trainer.resume()
        trainer.recorder = Recorder(trainer.progress, loop.steps, log_dir if distributed.is_main() else None)
        stack.callback(trainer.recorder.close)
        return trainer.run()


class _Trainer:
    def __init__(
        self,
        module: nn.Module,
        loss_fn: LossFunction,
        corpora: Sequence[Corpus],
        loop: LoopConfig,
        seed: int,
        device: torch.device,
        weights: Sequence[float] | None,
        name: str,
    ):
        self.loss_fn, self.loop, self.seed, self.device, self.name = loss_fn, loop, seed, device, name
        self.module = module.to(device)
        self.rank, self.world_size = distributed.rank(), distributed.world_size()
        if loop.batch_size % self.world_size:
            raise ConfigError(
                f"loop.batch_size ({loop.batch_size}) must be a multiple of the number of processes "
                f"({self.world_size}), so that the global batch does not depend on it"
            )
        if loop.compile:
            module.compile()
        self.params = [param for param in module.parameters() if param.requires_grad]
        self.dtype = self.params[0].dtype
        self.optimiser = build_optimiser(module, loop)
        self.averaged = AveragedWeights(module, loop.ema_decay) if loop.ema_decay else None
        self.best: dict[str, Tensor] = {}
        self.progress = Progress()
        self.guard = DivergenceGuard(loop.divergence_factor)
        self.stop = StopRequest()
        sampler = MixedSampler([len(corpus) for corpus in corpora], loop.batch_size, seed, weights)
        self.loader = Loader(
            corpora, sampler, self.rank, self.world_size, loop.num_workers, pin=device.type == "cuda"
        )
        self.validate: Callable[[nn.Module], dict[str, float]] | None = None
        self.step_end: Callable[[nn.Module], None] | None = None
        self.store: CheckpointFolder | CheckpointMemory
        self.recorder: Recorder

    def run(self) -> TrainingResult:
        """All remaining steps; then the weights to keep are put into the module."""
        self._announce()
        self.module.train()
        with tqdm(
            total=self.loop.steps,
            initial=self.progress.step,
            desc=self.name,
            unit="step",
            disable=None if self.rank == 0 else True,
        ) as bar:
            while not self.progress.finished:
                diverged = self._until_done_or_diverged(bar)
                if diverged is not None:
                    self._roll_back(*diverged)
                    bar.reset()
                    bar.update(self.progress.step)
        if self.best:
            self.module.load_state_dict(self.best)
        elif self.averaged is not None:
            self.averaged.copy_to(self.module)
        p = self.progress
        parameters = sum(param.numel() for param in self.module.parameters())
        return TrainingResult(
            p.step,
            p.stopped,
            p.best_step,
            p.best_value,
            p.skipped,
            p.step_ms,
            parameters,
            p.history,
            p.validations,
        )

    def _until_done_or_diverged(self, bar: tqdm) -> tuple[int, str, str] | None:
        """Train until finished (None), or until a step that must not be taken: (step, corpus, reason)."""
        with closing(self.loader.batches(self.progress.step)) as batches:  # type: ignore[type-var]
            self.recorder.start_clock()
            for batch in batches:
                self.recorder.batch_arrived()
                if batch.step not in self.progress.skipped:
                    reason = self._step(batch)
                    if reason is not None:
                        return batch.step, batch.corpus, reason
                else:
                    self.progress.step += 1
                bar.update()
                self._after_step()
                if self.progress.finished:
                    break
                self.recorder.start_clock()
        return None

    def _step(self, batch: Batch) -> str | None:
        """One optimiser step from this rank's share of the batch; the reason where it was not taken."""
        _seed_everything(batch.seed)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(batch.step, self.loop)
        self.optimiser.zero_grad(set_to_none=True)
        terms: dict[str, Tensor] = {}
        for part in batch.split(self.loop.micro_batch):
            share = len(part) / len(batch)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.loop.precision == "bf16"):
                values = self.loss_fn(self.module, part.to(self.device, self.dtype))
            (values["loss"] * share).backward()
            for key, value in values.items():
                value = torch.as_tensor(value, device=self.device).detach().double() * share
                terms[key] = terms[key] + value if key in terms else value
        distributed.average_gradients(self.params)
        norm = nn.utils.clip_grad_norm_(self.params, self.loop.clip_norm)
        stop = torch.tensor(float(self.stop.received), dtype=torch.float64, device=self.device)
        packed = distributed.mean_over_ranks(torch.stack([*terms.values(), norm.double(), stop])).tolist()
        self.stop.received = packed.pop() > 0  # one rank's signal stops all, after the same step
        grad_norm = packed.pop()
        row = dict(zip(terms, packed, strict=True))
        reason = self.guard.problem(batch.corpus, row["loss"], grad_norm)
        if reason is not None:
            return reason
        self.optimiser.step()
        if self.step_end is not None:
            self.step_end(self.module)
        if self.averaged is not None:
            self.averaged.update(self.module)
        self.progress.step += 1
        lr = learning_rate(batch.step, self.loop)
        row |= {f"loss/{batch.corpus}": row["loss"], "grad_norm": grad_norm, "learning_rate": lr}
        self.recorder.add(row)
        return None

    def _after_step(self) -> None:
        """Validate, save and stop, where they are due."""
        p, loop = self.progress, self.loop
        last = p.step >= loop.steps
        if self.validate is not None and (p.step % loop.validate_every == 0 or last):
            self._validate(self.validate)
        p.finished = last or p.worse >= loop.patience
        p.stopped = "steps" if last else "early"
        if p.finished:
            self.recorder.flush()
        if p.finished or self.stop.received or p.step % loop.checkpoint_every == 0:
            self.save()
        if self.stop.received and not p.finished:
            log.warning("%s: SIGTERM after step %d; run the same command again to go on", self.name, p.step)
            raise Preempted
        if len(self.recorder.times_ms) == 10:
            self._announce_duration()

    def _validate(self, validate: Callable[[nn.Module], dict[str, float]]) -> None:
        p = self.progress
        _seed_everything(step_seed(self.seed, p.step, self.rank))
        self.module.eval()
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if self.averaged is not None:
                stack.enter_context(self.averaged.applied(self.module))
            values = validate(self.module)
            numbers = distributed.from_main([float(value) for value in values.values()], self.device)
            row = dict(zip(values, numbers, strict=True))
            self.recorder.add_validation(row)
            if math.isfinite(row["loss"]) and (p.best_value is None or row["loss"] < p.best_value):
                p.best_step, p.best_value, p.worse = p.step, row["loss"], 0
                self.best = _on_cpu(self.module.state_dict())
            else:
                p.worse += 1
        self.module.train()

    def save(self) -> None:
        """Checkpoint of the state between two steps; all ranks wait for rank 0 to write it."""
        self.progress.step_ms = self.recorder.step_ms() if hasattr(self, "recorder") else None
        if self.averaged is not None:
            self.progress.averaged = self.averaged.updates
        if isinstance(self.store, CheckpointMemory) or distributed.is_main():
            groups: Groups = {
                "model": _on_cpu(self.module.state_dict()),
                "optimizer": _on_cpu(optimiser_tensors(self.module, self.optimiser)),
                "best": self.best,
                "averaged": _on_cpu(self.averaged.values) if self.averaged is not None else {},
            }
            state = {"progress": self.progress.to_json(), "guard": self.guard.state(), "seed": self.seed}
            self.store.save(self.progress.step, groups, state)
        distributed.barrier()

    def resume(self) -> None:
        """Start from the last checkpoint, or from the module as it is, the same on every rank."""
        checkpoint = self._latest()
        if checkpoint is None:
            distributed.broadcast_module(self.module)
            self.save()
        else:
            self._restore(checkpoint)
            if self.rank == 0:
                log.warning("%s: resumed after step %d", self.name, checkpoint.step)

    def _latest(self) -> Checkpoint | None:
        """Rank 0 chooses the checkpoint; the others read the same one."""
        if isinstance(self.store, CheckpointMemory):
            return self.store.latest()
        found = self.store.latest() if distributed.is_main() else None
        step = int(distributed.from_main([-1.0 if found is None else float(found.step)], self.device)[0])
        return self.store.read(step) if found is None and step >= 0 else found

    def _restore(self, checkpoint: Checkpoint) -> None:
        groups, state = checkpoint.groups, checkpoint.state
        self.module.load_state_dict(groups["model"])
        load_optimiser(self.module, self.optimiser, groups["optimizer"])
        self.best = groups["best"]
        self.progress = Progress(**state["progress"])
        self.guard.restore(state["guard"])
        if self.averaged is not None:
            self.averaged.values = {k: v.to(self.device) for k, v in groups["averaged"].items()}
            self.averaged.updates = self.progress.averaged

    def _roll_back(self, step: int, corpus: str, reason: str) -> None:
        """Back to the last checkpoint, to leave out the batch of `step`; a second time is the end."""
        where = f"{self.name}: {reason} at step {step} (batch from {corpus})"
        if self.progress.skipped:
            raise DivergenceError(
                f"{where}, after step {self.progress.skipped[0]} had already been left out; lower "
                "loop.learning_rate or loop.clip_norm, or look for bad windows in that corpus"
            )
        checkpoint = self._latest()
        assert checkpoint is not None, "resume() saved one before the first step"
        self._restore(checkpoint)
        self.progress.skipped.append(step)
        self.recorder.progress = self.progress
        log.warning("%s; going back to step %d and leaving that batch out", where, checkpoint.step)

    def _announce(self) -> None:
        if self.rank == 0:
            size = sum(param.numel() for param in self.params) / 1e6
            todo = self.loop.steps - self.progress.step
            tqdm.write(
                f"{self.name}: {todo} of {self.loop.steps} steps to do, {self.loop.batch_size} windows each, "
                f"on {self.world_size} x {self.device.type}; {size:.2f} M trainable parameters"
            )

    def _announce_duration(self) -> None:
        """Before a long run: how long it will take at the measured pace."""
        step_ms = self.recorder.step_ms() or 0.0
        left_s = (self.loop.steps - self.progress.step) * step_ms / 1e3
        if self.rank == 0 and left_s > LONG_RUN_S:
            hours = left_s / 3600
            tqdm.write(
                f"{self.name}: {step_ms:.0f} ms a step, {1e3 * self.loop.batch_size / step_ms:.0f} windows/s, "
                f"about {hours:.1f} h to go, {hours * self.world_size:.1f} device-hours"
            )


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies that training cannot change and safetensors can write (no shared memory)."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries may use the global generator
    torch.manual_seed(seed)
