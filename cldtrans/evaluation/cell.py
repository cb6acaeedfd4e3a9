"""The one way to write the result of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cldtrans.config import Config, fingerprint
from cldtrans.data.shards import ShardSet
from cldtrans.files import sha256_file
from cldtrans.methods.cells import Cell, cell_settings
from cldtrans.provenance import write_result
from cldtrans.scoring.metrics import Scores

if TYPE_CHECKING:
    from cldtrans.data.intracranial import ZoneSet
    from cldtrans.data.known_lags.sets import KnownSet

NO_WINDOWS = {"train": 0, "val": 0, "test": 0, "subjects": {"train": 0, "val": 0, "test": 0}}


def write_cell(
    output: Path,
    cell: Cell,
    config: Config,
    scores: Scores,
    n: dict[str, Any],
    *,
    windows: ShardSet | ZoneSet | KnownSet | None = None,
    checkpoint: Path | None = None,
    scored: Any = None,
    notes: Sequence[str] = (),
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a cell's result file.

    Parameters
    ----------
    output : Path
        The file.
    cell : Cell
        Its place in the plan.
    config : Config
        Settings of the run.
    scores : Scores
        Metrics with chance, intervals and reasons.
    n : dict
        Windows (or cases) and subjects a split; `NO_WINDOWS` where nothing could be scored.
    windows : ShardSet or ZoneSet or KnownSet, optional
        What was scored.
    checkpoint : Path, optional
        By which pretrained model.
    scored : classifier or readouts, optional
        `parameters`, `nfe`, `device` and `notes` are taken where it has them.
    notes : sequence of str
        What else a reader has to know, a line each.
    extra : dict, optional
        Further entries of the record.

    Returns
    -------
    dict
        The record as written.
    """
    return write_result(
        output,
        **asdict(cell),
        metrics={name: None if value is None else float(value) for name, value in scores.metrics.items()},
        chance={name: None if value is None else float(value) for name, value in scores.chance.items()},
        ci95=scores.ci95,
        reasons=scores.reasons,
        n=n,
        config_sha256=fingerprint(cell_settings(config, cell)),
        data_fingerprint=None if windows is None else windows.fingerprint,
        checkpoint_sha256=None if checkpoint is None else sha256_file(checkpoint / "model.safetensors"),
        parameters=getattr(scored, "parameters", None),
        nfe=getattr(scored, "nfe", None),
        device=getattr(scored, "device", "cpu"),
        notes=[*notes, *getattr(scored, "notes", [])],
        extra={**(extra or {}), **({"by_subject": scores.by_subject} if scores.by_subject else {})},
    )
