"""Checkpoints of other people's networks: every tensor is counted, and a part of one is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cldtrans.errors import DataError

NESTED = ("model", "state_dict", "module")
"""Where checkpoints keep their tensors, beside an optimiser's."""


@dataclass(frozen=True)
class Loaded:
    """What became of a checkpoint.

    Attributes
    ----------
    matched : int
        Tensors that the network now has.
    left : int
        Tensors of the file that it has no place for, as expected: another head, a decoder.
    fresh : int
        Tensors of the network that no checkpoint holds, as expected: its head.
    """

    matched: int
    left: int
    fresh: int


def load_counted(
    network: nn.Module,
    path: Path,
    rename: Callable[[str], str | None],
    is_fresh: Callable[[str], bool],
    cut: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor,
) -> Loaded:
    """Load a checkpoint into a network, all of it or nothing.

    Parameters
    ----------
    network : Module
        Gets the tensors.
    path : Path
        `.safetensors`, or what `torch.save` wrote (tensors and plain containers alone are read).
    rename : callable
        Name of a tensor in the file -> in the network; None for one that the network has no place for.
    is_fresh : callable
        Whether a tensor of the network, by its name, is not to be had from a checkpoint.
    cut : callable, optional
        What is taken of a tensor, by its name in the network, e.g. the places of so many patches.

    Raises
    ------
    DataError
        Where a tensor is missing, has another shape, or has no place.
    """
    own = network.state_dict()
    renamed, left = {}, 0
    for name, tensor in read_tensors(path).items():
        place = rename(name)
        if place is None:
            left += 1
        else:
            renamed[place] = cut(place, tensor)
    wanted = {name for name in own if not is_fresh(name)}
    problems = [
        *(f"{name} is missing" for name in sorted(wanted - set(renamed))),
        *(f"{name} has no place" for name in sorted(set(renamed) - set(own))),
        *(
            f"{name} is {tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
            for name, tensor in sorted(renamed.items())
            if name in own and tensor.shape != own[name].shape
        ),
    ]
    if problems:
        shown = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise DataError(
            f"{path}: {len(wanted & set(renamed))} of {len(wanted)} tensors match, all have to: {shown}; "
            "give the checkpoint of this architecture"
        )
    network.load_state_dict({**own, **renamed})
    return Loaded(len(renamed), left, len(own) - len(renamed))


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Read a checkpoint's tensors by name.

    Raises
    ------
    DataError
        Where the file is absent or is no checkpoint.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file makes a reader raise
        raise DataError(f"{path}: not a readable checkpoint ({type(error).__name__}: {error})") from None
    for name in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)} if content else {}
    if not tensors:
        raise DataError(f"{path}: a checkpoint without tensors")
    return tensors


def locate(weights: str) -> Path:
    """Return the file of a path, or of a hub id `owner/name[:file]` that was downloaded before.

    Raises
    ------
    DataError
        Where there is neither: nothing is ever fetched from here.
    """
    path = Path(weights).expanduser()
    if path.exists():
        return path
    repository, _, file = weights.partition(":")
    if repository.count("/") == 1 and not path.suffix:
        from huggingface_hub import try_to_load_from_cache

        for name in [file] if file else ["model.safetensors", "pytorch_model.bin"]:
            found = try_to_load_from_cache(repository, name)
            if isinstance(found, str):
                return Path(found)
        raise DataError(f"{weights}: not in the local cache; run `hf download {repository}` first")
    raise DataError(f"{weights}: no such file; give a checkpoint's path, or the id of one in the hub's cache")
