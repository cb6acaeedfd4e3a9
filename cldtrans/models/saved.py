"""The folder of a saved model: its sums, and checks before anything of it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from cldtrans.config import ModelConfig
from cldtrans.errors import DataError, listing
from cldtrans.files import SUMS, read_sums, sha256_file, write_sums
from cldtrans.models.heads import HeadSpec

SETTINGS, WEIGHTS = "config.json", "model.safetensors"
AGAIN = "fetch or save the model again"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_TIMEOUT_S = 5.0


def sign(folder: Path) -> None:
    """Write the sums of settings and weights; the model card is for people, who may edit it."""
    write_sums(folder, [SETTINGS, WEIGHTS])


def check(folder: Path, build: Callable[..., nn.Module]) -> None:
    """Compare a folder with its sums, if it has any, and its weights with its settings.

    Nothing large is allocated before both fit: a damaged width may ask for any amount of memory.

    Parameters
    ----------
    folder : Path
        As `CLDTrans.save_pretrained` wrote it.
    build : callable
        Makes the network of `config` and `tasks`.

    Raises
    ------
    DataError
        Names the file, and what to do.
    """
    for name in (SETTINGS, WEIGHTS):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: no such file; expected the folder of a saved model, {AGAIN}")
    if (folder / SUMS).exists():
        _check_sums(folder)
    config, tasks = _settings(folder / SETTINGS)
    found = _tensors(folder / WEIGHTS)
    misfit = f"{folder / WEIGHTS}: the weights are not those of {SETTINGS}"
    if config.blocks > len(found):
        raise DataError(f"{misfit}: {len(found)} tensors for {config.blocks} blocks; {AGAIN}")
    try:
        with torch.device("meta"):
            tensors = build(config, tasks).state_dict()
    except Exception as error:  # torch raises whatever impossible sizes happen to provoke
        raise DataError(f"{folder / SETTINGS}: no network has these settings ({error}); {AGAIN}") from error
    expected = {name: (list(t.shape), t.is_floating_point()) for name, t in tensors.items()}
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if wrong:
        if not any(name.startswith("readout.") for name in found):
            raise DataError(f"{folder}: saved by an earlier version with another pooled vector; train again")
        raise DataError(f"{misfit}: missing, unknown, or of another shape or type: {listing(wrong)}; {AGAIN}")


def check_hub_name(
    name: str | Path, token: str | bool | None = None, local_files_only: bool = False, **_: Any
) -> None:
    """Check, before anything is fetched and at once, that what is no folder can be a model of the hub.

    Parameters
    ----------
    name : str or Path
        As it was asked for: `owner/name` of the hub, where no folder `owner` lies here.
    token, local_files_only : optional
        As `from_pretrained` of the hub takes them.

    Raises
    ------
    DataError
        Where it cannot be, or the hub does not know it, or does not answer one question.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    missing = f"{name}: no such folder; train a model, or fetch it"
    if Path(name).exists():
        raise DataError(f"{name}: expected the folder of a saved model, found a file")
    if isinstance(name, Path) or not HUB_NAME.fullmatch(name) or Path(name).parent.exists():
        raise DataError(missing)
    if local_files_only or isinstance(try_to_load_from_cache(name, SETTINGS), str):
        return
    try:
        HfApi().model_info(name, timeout=HUB_TIMEOUT_S, token=token)
    except Exception as error:  # the hub's own, or those of whichever HTTP library its client uses
        raise DataError(f"{missing} (the hub has no answer: {type(error).__name__})") from None


def shipped_folder(name: str) -> Path:
    """Return where the package keeps the model of that name, or would."""
    return Path(__file__).parent / "pretrained" / name


def shipped_names() -> list[str]:
    """Return the models that the package brings."""
    return sorted(path.parent.name for path in shipped_folder("").glob(f"*/{SETTINGS}"))


def _check_sums(folder: Path) -> None:
    try:
        sums = read_sums(folder)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / SUMS}: cannot be read ({error}); {AGAIN}") from None
    for name in (SETTINGS, WEIGHTS):
        if sums.get(name) != sha256_file(folder / name):
            raise DataError(
                f"{folder / name}: expected the content that {SUMS} was made of, found another; {AGAIN}, or "
                f"delete {SUMS} if the change is meant"
            )


def _settings(path: Path) -> tuple[ModelConfig, dict[str, object]]:
    """Return the network's settings and its heads, as plain values."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or not isinstance(values.get("tasks") or {}, dict):
            raise ValueError("no mapping of config, tasks and provenance")
        config = ModelConfig.model_validate(values.get("config"))
        tasks = values.get("tasks") or {}
        for head in tasks.values():
            HeadSpec.from_json(head)
        dict(values.get("provenance") or {})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise DataError(f"{path}: not the settings of a model: {problems}; {AGAIN}") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not the settings of a model ({error}); {AGAIN}") from None
    return config, tasks


def _tensors(path: Path) -> dict[str, tuple[list[int], bool]]:
    """Return shape, and whether it holds fractions, of each tensor by name; only the header is read."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: (list(piece.get_shape()), "F" in piece.get_dtype()) for name, piece in slices.items()
            }
    except Exception as error:  # safetensors raises errors of its own, and the system's
        raise DataError(f"{path}: cannot be read as weights ({error}); {AGAIN}") from error
