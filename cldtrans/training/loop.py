"""The training loop: any module, any corpora, one process or many, resumable at any step.

Limited by steps, never by the clock. Everything random in a step follows from (seed, step, rank), so a run
that is killed and resumed ends with the same bits (on the CPU), and R ranks together compute what one process
would compute from the same global batch.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cldtrans.config import LoopConfig
from cldtrans.errors import ConfigError
from cldtrans.files import require_room
from cldtrans.machine import keep_freed_memory
from cldtrans.methods.tuning import Tuning
from cldtrans.training import distributed
from cldtrans.training.checkpoint import KEEP, CheckpointFolder, CheckpointMemory
from cldtrans.training.guard import DivergenceError, Preempted, StopRequest
from cldtrans.training.loader import Batch, Corpus, Loader
from cldtrans.training.optimiser import learning_rate
from cldtrans.training.progress import Recorder
from cldtrans.training.sampler import MixedSampler
from cldtrans.training.seeding import seed_everything, step_seed
from cldtrans.training.state import Store, TrainingState

LossFunction = Callable[[nn.Module, Batch], dict[str, Tensor]]
Validation = Callable[[nn.Module], dict[str, float]]
STATE = 5  # a checkpoint holds so many times the weights: both moments, the average, the best ones
TIMED_STEPS = 10  # after which the pace is known and a long run says how long it will take
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
        """Return the values for `training.json`."""
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
    validate: Validation | None = None,
    step_end: Callable[[nn.Module], None] | None = None,
    work_dir: Path | None = None,
    log_dir: Path | None = None,
    config_sha256: str = "",
    name: str = "training",
    tuning: Tuning | None = None,
) -> TrainingResult:
    """Train `module` in place, resuming from `work_dir` where it holds a checkpoint.

    Parameters
    ----------
    module : Module
        Moved to `device`, trained in its parameters' dtype; parameters with requires_grad=False stay.
    loss_fn : callable
        module, micro-batch -> named scalars; `loss` is differentiated, the others are logged. Each must
        be a mean over windows, or accumulation and ranks would change its meaning. Autocast is on for
        "bf16".
    corpora : sequence of Corpus
        What batches are drawn from, one corpus a batch.
    loop : LoopConfig
        Steps, or epochs of all corpora; batch sizes, optimiser.
    seed : int
        Of batches and of everything random inside a step.
    device : device or str
        Where the module is trained.
    weights : sequence of float, optional
        Share of steps a corpus; default: by its number of windows.
    validate : callable, optional
        module in eval mode, without gradients -> numbers, of which `loss` decides (lower is better).
        Called on every rank; rank 0's numbers count. The best weights are the ones returned.
    step_end : callable, optional
        Called after each optimiser step, on every rank: the place to all-reduce and apply codebook
        statistics gathered over the micro-batches (`distributed.all_reduce_sum_`). A step that is not
        taken is undone by `load_state_dict`: gather them in buffers, or forget them there.
    work_dir : Path, optional
        Scratch folder for rolling checkpoints, seen by all ranks; None: nothing is kept on disk.
    log_dir : Path, optional
        TensorBoard event files.
    config_sha256 : str
        Of all settings that shape the result; a checkpoint with another one is refused.
    name : str
        For messages and the progress bar.
    tuning : Tuning, optional
        What gives the gradients of a step, already prepared; None: micro-batch by micro-batch, all of them.

    Raises
    ------
    DivergenceError
        When training diverges again after one rollback.
    Preempted
        After SIGTERM, once a checkpoint is written (exit code 75).
    """
    keep_freed_memory()
    main = distributed.is_main()
    folder = None if work_dir is None else CheckpointFolder(work_dir, config_sha256)
    store: Store = folder or CheckpointMemory()
    trainer = _Trainer(
        module,
        loss_fn,
        corpora,
        loop,
        seed,
        torch.device(device),
        weights,
        validate,
        step_end,
        store,
        name,
        tuning,
    )
    if folder and main:
        weights_bytes = sum(param.numel() * param.element_size() for param in module.parameters())
        require_room(folder.folder, STATE * (KEEP + 1) * weights_bytes, f"{name}: its rolling checkpoints")
    with folder.locked() if folder and main else contextlib.nullcontext():
        return trainer.run(log_dir if main else None)


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
        validate: Validation | None,
        step_end: Callable[[nn.Module], None] | None,
        store: Store,
        name: str,
        tuning: Tuning | None,
    ):
        loop = loop.model_copy(update={"steps": loop.n_steps(sum(map(len, corpora)))})
        self.module, self.loss_fn, self.loop, self.seed = module, loss_fn, loop, seed
        self.n_steps = loop.n_steps()
        self.device, self.validate, self.step_end = device, validate, step_end
        self.store, self.name, self.tuning = store, name, tuning
        self.rank, self.world_size = distributed.rank(), distributed.world_size()
        if loop.batch_size % self.world_size:
            raise ConfigError(
                f"loop.batch_size ({loop.batch_size}) must be a multiple of the number of processes "
                f"({self.world_size}), so that the global batch does not depend on it"
            )
        self.state = TrainingState(module, loop, device)
        if loop.compile:
            module.compile()
        self.params = [param for param in module.parameters() if param.requires_grad]
        self.dtype = self.params[0].dtype
        self.stop = StopRequest()
        sampler = MixedSampler([len(corpus) for corpus in corpora], loop.batch_size, seed, weights)
        pin = device.type == "cuda"
        self.loader = Loader(corpora, sampler, self.rank, self.world_size, loop.num_workers, pin)
        self.recorder: Recorder

    def run(self, log_dir: Path | None) -> TrainingResult:
        """Resume, do the remaining steps, and put the weights to keep into the module."""
        progress = self.state.progress
        if self.state.resume(self.store) and self.rank == 0:
            log.warning("%s: resumed after step %d", self.name, progress.step)
        trainable = sum(param.numel() for param in self.params) / 1e6
        self._say(
            f"{self.n_steps - progress.step} of {self.n_steps} steps, batch {self.loop.batch_size}, "
            f"on {self.world_size} x {self.device.type}; {trainable:.2f} M trainable parameters"
        )
        self.module.train()
        with (
            self.stop.listening(),
            closing(Recorder(progress, self.n_steps, log_dir)) as self.recorder,
            tqdm(total=self.n_steps, desc=self.name, unit="step", disable=self.rank > 0 or None) as bar,
        ):
            while not progress.finished:
                bar.initial = progress.step
                bar.reset()
                bar.update(progress.step)
                diverged = self._until_done_or_diverged(bar)
                if diverged is not None:
                    self._roll_back(*diverged)
        self.state.apply_final()
        return TrainingResult(
            steps=progress.step,
            stopped=progress.stopped,
            best_step=progress.best_step,
            best_value=progress.best_value,
            skipped=progress.skipped,
            step_ms=progress.step_ms,
            parameters=sum(param.numel() for param in self.module.parameters()),
            history=progress.history,
            validations=progress.validations,
        )

    def _until_done_or_diverged(self, bar: tqdm) -> tuple[int, str, str] | None:
        """Train until finished (None), or until a step that must not be taken: (step, corpus, reason)."""
        progress = self.state.progress
        with contextlib.ExitStack() as stack:
            batches = self.loader.batches(progress.step)
            stack.callback(batches.close)
            self.recorder.start_clock()
            for batch in batches:
                self.recorder.batch_arrived()
                if batch.step in progress.skipped:
                    progress.step += 1
                else:
                    reason = self._step(batch)
                    if reason is not None:
                        return batch.step, batch.corpus, reason
                bar.update()
                self._after_step()
                if progress.finished:
                    break
                self.recorder.start_clock()
        return None

    def _step(self, batch: Batch) -> str | None:
        """Take one optimiser step from this rank's share of the batch; return why, where it was not taken."""
        state = self.state
        seed_everything(step_seed(self.seed, batch.step, self.rank))
        rate = learning_rate(batch.step, self.loop)
        for param in self.params:
            param.grad = None
        terms = self._backward(batch)
        distributed.average_gradients(self.params)
        norm = nn.utils.clip_grad_norm_(self.params, self.loop.clip_norm).double()
        stop = norm.new_tensor(float(self.stop.received))
        packed = distributed.mean_over_ranks(torch.stack([*terms.values(), norm, stop])).tolist()
        self.stop.received = packed.pop() > 0  # one rank's signal stops all, after the same step
        row = dict(zip([*terms, "grad_norm"], packed, strict=True))
        reason = state.guard.problem(batch.corpus, row["loss"], row["grad_norm"])
        if reason is not None:
            return reason
        state.optimiser.step(rate)
        if self.step_end is not None:
            self.step_end(self.module)
        if state.averaged is not None:
            state.averaged.update(self.module)
        state.progress.step += 1
        self.recorder.add(row | {f"loss/{batch.corpus}": row["loss"], "learning_rate": rate})
        return None

    def _backward(self, batch: Batch) -> dict[str, Tensor]:
        """Compute gradients of this rank's share, micro-batch by micro-batch.

        Return the terms' means over it (float64).
        """
        if self.tuning is not None:
            return self._tuned(batch, self.tuning)
        terms: dict[str, Tensor] = {}
        for part in batch.split(self.loop.micro_batch):
            share = len(part) / len(batch)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.loop.precision == "bf16"):
                values = self.loss_fn(self.module, part.to(self.device, self.dtype))
            (values["loss"] * share).backward()
            for key, value in values.items():
                weighted = torch.as_tensor(value, device=self.device).detach().double() * share
                terms[key] = terms[key] + weighted if key in terms else weighted
        return terms

    def _tuned(self, batch: Batch, tuning: Tuning) -> dict[str, Tensor]:
        """Let a strategy give the gradients of this rank's share; return the loss (float64)."""
        placed = batch.to(self.device, self.dtype)

        def loss(*rows: Tensor) -> Tensor:
            data = dict(zip(placed.data, rows, strict=True))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.loop.precision == "bf16"):
                return self.loss_fn(self.module, replace(placed, data=data))["loss"]

        rate = learning_rate(batch.step, self.loop)
        value = tuning.backward(self.module, loss, list(placed.data.values()), batch.step, rate)
        return {"loss": value.double()}

    def _after_step(self) -> None:
        """Validate, save and stop, where they are due."""
        progress, loop = self.state.progress, self.loop
        last = progress.step >= self.n_steps
        if self.validate is not None and (progress.step % loop.validate_every == 0 or last):
            self._validate(self.validate)
        progress.finished = last or progress.worse >= loop.patience
        progress.stopped = "steps" if last else "early"
        if progress.finished:
            self.recorder.flush()
        if progress.finished or self.stop.received or progress.step % loop.checkpoint_every == 0:
            progress.step_ms = self.recorder.step_ms()
            self.state.save(self.store)
        if self.stop.received and not progress.finished:
            log.warning(
                "%s: SIGTERM after step %d; the same command goes on from here", self.name, progress.step
            )
            raise Preempted
        if len(self.recorder.times_ms) == TIMED_STEPS:
            self._say(self.recorder.outlook(self.n_steps, loop.batch_size, self.world_size))

    def _validate(self, validate: Validation) -> None:
        """Judge held-out windows, with the averaged weights where there are any."""
        progress, averaged = self.state.progress, self.state.averaged
        seed_everything(step_seed(self.seed, progress.step, self.rank))
        self.module.eval()
        with torch.no_grad(), averaged.applied(self.module) if averaged else contextlib.nullcontext():
            values = validate(self.module)
            numbers = distributed.from_main([float(value) for value in values.values()], self.device)
            row = dict(zip(values, numbers, strict=True))
            self.recorder.add_validation(row)
            if progress.judge(row["loss"]):
                self.state.keep_as_best()
        self.module.train()

    def _roll_back(self, step: int, corpus: str, reason: str) -> None:
        """Go back to the last checkpoint, to leave out the batch of `step`; a second time is the end."""
        progress = self.state.progress
        where = f"{self.name}: {reason} at step {step} (batch from {corpus})"
        if progress.skipped:
            raise DivergenceError(
                f"{where}, after step {progress.skipped[0]} had already been rolled back; "
                "lower loop.learning_rate or loop.clip_norm, or look for bad windows in that corpus"
            )
        self.state.resume(self.store)
        progress.skipped.append(step)
        log.warning("%s; going back to step %d and leaving that batch out", where, progress.step)

    def _say(self, text: str | None) -> None:
        """Print a line above the progress bar."""
        if text and self.rank == 0:
            tqdm.write(f"{self.name}: {text}", file=sys.stderr)
