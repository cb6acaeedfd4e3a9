"""The bucket as a whole: folders, RECORDS, checksums, truth, and the stamp that says it is complete."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tqdm import tqdm

from cldtrans.data.miniature import (
    challenge2021,
    chbmit,
    code15,
    eegmmidb,
    hbn,
    mimic,
    ptbxl,
    siena,
    sleepedf,
)
from cldtrans.data.miniature.scales import SCALES
from cldtrans.data.miniature.truth import Truth
from cldtrans.errors import DataError
from cldtrans.files import atomic_path, sha256_file

FORMAT = 3  # raise it when the content changes: older miniatures are then written anew
STAMP = "MINIATURE.json"
_DATASETS = (
    ("chbmit/1.0.0", chbmit.write),
    ("eegmmidb/1.0.0", eegmmidb.write),
    ("sleep-edfx/1.0.0", sleepedf.write),
    ("ptb-xl/1.0.3", ptbxl.write),
    ("mimic-iv-ecg/1.0", mimic.write),
    ("siena-scalp-eeg/1.0.0", siena.write),
    ("challenge-2021/1.0.3", challenge2021.write),
    ("code15/1.0.0", code15.write),
    ("hbn/eeg2025", hbn.write),
)


def write_miniature(out: str | Path, scale: str = "demo", seed: int = 0) -> bool:
    """Write the miniature bucket to a folder, which appears complete or not at all.

    The same scale and seed give the same bytes.

    Parameters
    ----------
    out : str or Path
        Folder that becomes the bucket; an older miniature there is replaced, anything else refused.
    scale : one of "tiny", "demo", "standard"
        One of `SCALES`.
    seed : int
        Of everything random.

    Returns
    -------
    bool
        False when it is there already.

    Raises
    ------
    DataError
        For an unknown scale, or a folder that holds something else.
    """
    if scale not in SCALES:
        raise DataError(f"no miniature of scale {scale!r}: choose one of {', '.join(SCALES)}")
    out = Path(out)
    stamp = {"format": FORMAT, "scale": scale, "seed": seed}
    if (out / STAMP).is_file():
        if json.loads((out / STAMP).read_text()) == stamp:
            return False
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not empty and holds no {STAMP}: choose an empty folder for the miniature")
    _remove_abandoned(out)
    with atomic_path(out) as folder:
        truth = Truth()
        for prefix, write in tqdm(_DATASETS, desc=f"miniature ({scale})", unit="dataset", disable=None):
            records = write(folder / prefix, SCALES[scale], seed, truth)
            (folder / prefix / "RECORDS").write_text("\n".join(records) + "\n")
            _write_checksums(folder / prefix)
        truth.write(folder / "truth")
        (folder / STAMP).write_text(json.dumps(stamp, indent=2) + "\n")
    return True


def _remove_abandoned(out: Path) -> None:
    """Delete half-written siblings whose process was killed: nobody else would."""
    for folder in out.parent.glob(f".{out.stem}.*.part{out.suffix}"):
        owner = folder.name.removeprefix(f".{out.stem}.").split(".")[0]
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (PermissionError, ValueError):
            continue  # alive and somebody else's, or not ours


def _write_checksums(folder: Path) -> None:
    """SHA256SUMS.txt as PhysioNet writes it: one space, paths relative to the dataset's folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{sha256_file(path)} {path.relative_to(folder).as_posix()}\n" for path in paths]
    (folder / "SHA256SUMS.txt").write_text("".join(lines))
