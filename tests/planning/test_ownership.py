"""One owner of a run, whoever its parent is; and a dead owner's run is free again."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from cldtrans.planning.ownership import RECORD, OwnedError, claimed, current, read_owner, start_of

HOLD = """
import sys, time
from pathlib import Path
from cldtrans.planning.ownership import claimed
with claimed(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(600)
"""
# The parent ends at once, so that the owner is a child of process 1, as under nohup, setsid or systemd.
DETACHED = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", sys.argv[2], sys.argv[1]], stdout=subprocess.PIPE, start_new_session=True
)
child.stdout.readline()
print(child.pid, flush=True)
"""


def detached_owner(folder: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", DETACHED, str(folder), HOLD], stdout=subprocess.PIPE, text=True, timeout=60
    )
    return int(done.stdout)


def test_a_detached_run_is_not_taken_for_a_dead_one(tmp_path):
    pid = detached_owner(tmp_path)
    try:
        with pytest.raises(OwnedError, match=f"already under way \\(process {pid} on "), claimed(tmp_path):
            pass
        assert psutil.pid_exists(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_killed_owner_leaves_a_run_that_the_next_one_takes(tmp_path):
    pid = detached_owner(tmp_path)
    os.kill(pid, signal.SIGKILL)
    while start_of(pid) is not None:
        time.sleep(0.05)
    with claimed(tmp_path) as before:
        assert before is not None and before.pid == pid
        mine = read_owner(tmp_path)
        assert mine is not None and mine.pid == os.getpid()
    assert read_owner(tmp_path) is None
    with claimed(tmp_path) as before:
        assert before is None, "an owner that let go"


def test_without_locks_the_record_decides(tmp_path, monkeypatch):
    """A file system without locks: the living process is found by number and start time."""
    import contextlib

    monkeypatch.setattr("cldtrans.planning.ownership.locked", lambda folder, busy: contextlib.nullcontext())
    pid = detached_owner(tmp_path)
    try:
        with pytest.raises(OwnedError, match="already under way"), claimed(tmp_path):
            pass
        record = tmp_path / RECORD
        record.write_text(json.dumps(json.loads(record.read_text()) | {"started": "another boot 17"}))
        with claimed(tmp_path) as before:  # another process has that number now
            assert before is not None and before.pid == pid
    finally:
        os.kill(pid, signal.SIGKILL)


def test_of_another_host_nothing_is_known(tmp_path):
    (tmp_path / RECORD).write_text(json.dumps(asdict(replace(current(), host="elsewhere"))))
    remedy = f"started on elsewhere.*delete {tmp_path / RECORD}"
    with pytest.raises(OwnedError, match=remedy), claimed(tmp_path):
        pass


def test_a_damaged_record_is_no_owner(tmp_path):
    (tmp_path / RECORD).write_bytes(b'{"pid": 1, "sta\x00')
    with claimed(tmp_path) as before:
        assert before is None


def test_start_times_tell_processes_apart_and_survive_a_set_clock(monkeypatch):
    first = start_of(os.getpid())
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert start_of(os.getpid()) == first
    assert start_of(1) != first
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert start_of(gone.pid) is None
