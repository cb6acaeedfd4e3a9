"""How many bytes autograd holds for a backward pass: of tensors, not of an allocator's blocks.

What is counted is what operations save, each storage once, as long as the graph keeps it. So the number is
the same on every device whose kernels save the same tensors, and under torch's FakeTensorMode, which needs no
memory to say what a batch would take. Passes without a graph save nothing; what they need for a moment, the
activations of a layer or two, is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class SavedBytes:
    """What autograd holds, in bytes.

    Attributes
    ----------
    held : int
        At this moment.
    peak : int
        The most at any moment so far.
    """

    held: int = 0
    peak: int = 0
    _times: dict[int, int] = field(default_factory=dict, repr=False)

    def _take(self, storage: torch.UntypedStorage) -> None:
        times = self._times.get(id(storage), 0)
        self._times[id(storage)] = times + 1
        if not times:
            self.held += storage.nbytes()
            self.peak = max(self.peak, self.held)

    def _leave(self, storage: torch.UntypedStorage) -> None:
        self._times[id(storage)] -= 1
        if not self._times[id(storage)]:
            del self._times[id(storage)]
            self.held -= storage.nbytes()


class _Saved:
    """A saved tensor, counted until the graph lets go of it."""

    def __init__(self, tensor: Tensor, counted: SavedBytes) -> None:
        self.tensor = tensor
        self.storage = tensor.untyped_storage()  # held, so that no other gets its id meanwhile
        self.counted = counted
        counted._take(self.storage)

    def __del__(self) -> None:
        self.counted._leave(self.storage)


@contextmanager
def saved_bytes(apart_from: Iterable[Tensor] = ()) -> Iterator[SavedBytes]:
    """Count what autograd saves while the block runs, and until it is let go.

    Parameters
    ----------
    apart_from : iterable of tensors
        Memory that is held anyway: parameters, the batch. What shares it is not counted.
    """
    counted = SavedBytes()
    held_anyway = {id(storage): storage for storage in (tensor.untyped_storage() for tensor in apart_from)}

    def pack(tensor: Tensor) -> Tensor | _Saved:
        data = tensor.detach()  # an operation's own result knows the operation, which would never be let go
        return data if id(data.untyped_storage()) in held_anyway else _Saved(data, counted)

    def unpack(saved: Tensor | _Saved) -> Tensor:
        return saved.tensor if isinstance(saved, _Saved) else saved

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield counted
