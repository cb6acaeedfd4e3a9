"""The last checkpoint of a training whose result is saved, kept until the workflow has taken the result.

A job that is ended after it has saved counts as failed: its outputs are deleted and it is started again. From
its last checkpoint it then saves the same bits at once, instead of training again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

MARK = "finished"


def settle(work_dir: Path, folder: Path | None, code: str | None) -> None:
    """Drop all of a scratch folder but the newest checkpoint of the training that has been saved.

    Parameters
    ----------
    work_dir : Path
        The scratch folder.
    folder : Path or None
        That of this training in it; None where there was none.
    code : str or None
        Hash of the code that trained; None: nothing is kept.
    """
    if code is None or folder is None or not folder.is_dir():
        shutil.rmtree(work_dir, ignore_errors=True)
        return
    (folder / MARK).write_text(code)
    for other in work_dir.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    for old in sorted(folder.glob("step-*"))[:-1]:
        shutil.rmtree(old)


def forget_other_code(work_dir: Path, code: str | None) -> None:
    """Delete finished trainings of other code: their results are not what this code would give."""
    for mark in list(work_dir.glob(f"*/{MARK}")):
        if code is None or mark.read_text() != code:
            shutil.rmtree(mark.parent)


def drop_taken(scratch: Path) -> None:
    """Delete the checkpoints of finished trainings, once all their results have been taken."""
    for mark in list(scratch.rglob(MARK)):
        shutil.rmtree(mark.parent, ignore_errors=True)
