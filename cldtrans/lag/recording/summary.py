"""What was found and how, for programs: `summary.json`, and `lags.csv` with its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cldtrans
from cldtrans.files import atomic_path, write_json
from cldtrans.lag.amortised import AmortisedLags

if TYPE_CHECKING:
    from cldtrans.lag.recording.lags import RecordingLags
    from cldtrans.lag.recording.over_time import LagsOverTime

SCHEMA_VERSION = 1


def settings_of(lags: RecordingLags, alpha: float, max_order: int) -> dict[str, str]:
    """Say what was fitted or read, and how, in words; `alpha` and `max_order` are those of a fit."""
    window, fit = lags.window, lags.fit
    low, high = window.band_hz
    if isinstance(fit, AmortisedLags):
        how = {"estimator": f"pretrained model {fit.model}, amortised: nothing was fitted"}
    else:
        how = {
            "estimator": "LD-SEM, fitted",
            "innovations": fit.innovation,
            "own past": f"at most {max_order} samples",
            "level": f"{alpha:g}: probability of any false edge",
        }
    return {
        "file": window.origin,
        "window": f"{window.start_s:g} to {window.stop_s:g} s",
        "channels": ", ".join(lags.channels),
        "reference": window.reference,
        "band": f"{low:g} to {high:g} Hz, zero phase",
        "sampling rate of the fit": f"{window.rate_hz:.4g} Hz",
        "lags searched": f"0 to {1e3 * fit.tau_max:g} ms",
        **how,
        "left out of the fit": ", ".join(lags.channels[i] for i in fit.left_out) or "none",
        "version": f"cldtrans {cldtrans.__version__}",
    }


def write_csv(path: Path, lags: RecordingLags, settings: dict[str, str]) -> None:
    """Write the table of edges; settings and warnings stand in front, in lines that begin with `#`.

    `pandas.read_csv(path, comment="#")` reads it; no name in it holds that sign.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        lines = [*(f"{name}: {value}" for name, value in settings.items())]
        if lags.worst_warning is not None:
            lines.append(f"above all: {lags.worst_warning}")
        lines += [f"warning: {line}" for line in lags.warnings]
        file.writelines(f"# {' '.join(line.split())}\n" for line in lines)
        lags.table().to_csv(file, index=False, lineterminator="\n")


def write_summary(
    path: Path, lags: RecordingLags, settings: dict[str, str], over_time: LagsOverTime | None = None
) -> None:
    """Write everything as JSON: settings, warnings, edges with readings, who leads; null for no number."""
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "estimator": "ldsem" if lags.fitted else "amortised",
        "settings": settings,
        "channels": lags.channels,
        "notes": list(lags.window.notes),
        "warnings": lags.warnings,
        "worst_warning": lags.worst_warning,
        "readings": {kind: int(count) for kind, count in lags.table()["reading"].value_counts().items()},
        "edges": _records(lags.table()),
        "delays": _records(lags.delays.summary(lags.channels)),
        "one_hidden_source_explains_as_well": bool(lags.source.explains),
        "lead": None,
        "over_time": None,
    }
    if over_time is not None:
        content["over_time"] = {
            "length_s": over_time.length_s,
            "every_s": over_time.every_s,
            "threshold_z": over_time.threshold,
            "changes": over_time.sentences(),
            "windows": _records(over_time.to_frame()),
        }
    if lags.lead is not None:
        content["lead"] = {
            "found": lags.lead.found,
            "evidence_nats": lags.lead.evidence,
            "channels": _records(lags.lead.summary(lags.channels)),
        }
    write_json(path, content)


def _records(table: Any) -> list[dict[str, Any]]:
    return json.loads(table.to_json(orient="records", double_precision=15))
