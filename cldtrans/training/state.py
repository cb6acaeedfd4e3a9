"""Everything that changes while training, and how it is saved and put back on all ranks alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cldtrans.config import LoopConfig
from cldtrans.training import distributed
from cldtrans.training.checkpoint import Checkpoint, CheckpointFolder, CheckpointMemory, Groups
from cldtrans.training.guard import DivergenceGuard
from cldtrans.training.optimiser import AdamW, AveragedWeights
from cldtrans.training.progress import Progress

Store = CheckpointFolder | CheckpointMemory


class TrainingState:
    """Weights and buffers, optimiser, averaged and best weights, progress, running medians.

    No random-number state is kept: the loop seeds each step from (seed, step, rank), so that the state of the
    generators between steps has no influence, and a run may be resumed on another number of processes.
    """

    def __init__(self, module: nn.Module, loop: LoopConfig, device: torch.device):
        self.module, self.device = module.to(device), device
        self.optimiser = AdamW(module, loop.weight_decay)
        self.averaged = AveragedWeights(module, loop.ema_decay) if loop.ema_decay else None
        self.best: dict[str, Tensor] = {}
        self.progress = Progress()
        self.guard = DivergenceGuard(loop.divergence_factor)

    def save(self, store: Store) -> None:
        """Write a checkpoint between two steps; all ranks wait for rank 0 to write it."""
        if isinstance(store, CheckpointMemory) or distributed.is_main():
            groups: Groups = {
                "model": on_cpu(self.module.state_dict()),
                "optimizer": on_cpu(self.optimiser.tensors()),
                "best": self.best,
                "averaged": on_cpu(self.averaged.tensors()) if self.averaged is not None else {},
            }
            store.save(
                self.progress.step, groups, {"progress": self.progress.to_json(), "guard": self.guard.state()}
            )
        distributed.barrier()

    def resume(self, store: Store) -> bool:
        """Put back the last checkpoint (True), or save the module as rank 0 has it as the first one."""
        checkpoint = self._latest(store)
        if checkpoint is not None:
            self._restore(checkpoint)
            return True
        distributed.broadcast_module(self.module)
        self.save(store)
        return False

    def keep_as_best(self) -> None:
        """Remember the module as it is (with averaged weights where they are applied)."""
        self.best = on_cpu(self.module.state_dict())

    def apply_final(self) -> None:
        """Give the module the weights that the run returns: the best validated, or averaged, or last."""
        if self.best:
            self.module.load_state_dict(self.best)
        elif self.averaged is not None:
            self.averaged.copy_to(self.module)

    def _latest(self, store: Store) -> Checkpoint | None:
        """Read the checkpoint that rank 0 chooses; the others read the same one."""
        if isinstance(store, CheckpointMemory):
            return store.latest()
        found = store.latest() if distributed.is_main() else None
        step = int(distributed.from_main([-1.0 if found is None else float(found.step)], self.device)[0])
        return store.read(step) if found is None and step >= 0 else found

    def _restore(self, checkpoint: Checkpoint) -> None:
        groups, state = checkpoint.groups, checkpoint.state
        self.module.load_state_dict(groups["model"])
        self.optimiser.load(groups["optimizer"])
        self.best = groups["best"]
        self.progress.replace(state["progress"])
        self.guard.restore(state["guard"])
        if self.averaged is not None:
            self.averaged.load(groups["averaged"])


def on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors so that training cannot change and safetensors can write them (no shared memory)."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
