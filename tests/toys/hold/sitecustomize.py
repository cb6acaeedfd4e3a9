"""Holds commands of the project, so that a test can strike while a job runs; Python imports it at its start.

`CLDTRANS_HOLD` is a folder. Where it has a file `<command>`, `python -m cldtrans <command>` waits until
that is gone, and tells by a file `<command>.<pid>` that it does.
"""

import os
import sys
import time
from pathlib import Path


def _hold() -> None:
    folder, words = os.environ.get("CLDTRANS_HOLD"), sys.orig_argv
    if folder is None or "cldtrans" not in words or words[words.index("cldtrans") - 1] != "-m":
        return
    command = words[words.index("cldtrans") + 1]
    held = Path(folder, command)
    if held.exists():
        told = Path(folder, f"{command}.{os.getpid()}")
        told.touch()
        while held.exists():
            time.sleep(0.05)
        told.unlink(missing_ok=True)


_hold()
