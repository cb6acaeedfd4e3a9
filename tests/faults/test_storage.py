"""Disks that fill, files that nobody may write, bytes that change by themselves."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import toys.small_disk as disks
from toys.faults import DATASET, GOAL, finish, flip, launch, result

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
SHARDS = f"data/tiny/shards/{DATASET}"


@pytest.mark.fault("disk full while shards are written, then freed")
def test_a_full_disk_during_shards(before: Callable[[str], Path], truth: dict[str, str]) -> None:
    folder = before("preprocess")
    with disks.small_disk(folder / SHARDS, 1500):  # of the 4 MB that are to come
        printed = finish(launch(folder, "--cores", "2"), folder, code=2)
        assert "make room" in printed and "Traceback" not in printed
        disks.make_room(folder / SHARDS, 100_000)
        finish(launch(folder, "--cores", "2"), folder)
        assert result(folder) == truth


@pytest.mark.fault("a folder of results that became read-only, then writable")
def test_a_read_only_folder(before: Callable[[str], Path], truth: dict[str, str]) -> None:
    folder = before("split")
    place = (folder / GOAL).parent
    with disks.small_disk(place, 1000):
        disks.subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        printed = finish(launch(folder, "--cores", "2"), folder, code=2)
        assert "read-only" in printed.lower()
        disks.subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        finish(launch(folder, "--cores", "2"), folder)
        assert result(folder) == truth


@pytest.mark.fault("a flipped byte in a raw file")
def test_a_raw_file_that_changed(before: Callable[[str], Path], truth: dict[str, str]) -> None:
    folder = before("preprocess")
    link = next((folder / "data/tiny/raw").rglob("*_hr.dat"))
    intact = link.read_bytes()
    link.unlink()
    link.write_bytes(intact)
    flip(link)
    printed = finish(launch(folder, "--cores", "2"), folder, code=2)
    assert f"{link.name}: expected sha256" in printed and "changed since its download" in printed
    link.unlink()
    (folder / f"data/tiny/download/{DATASET}.json").unlink()
    finish(launch(folder, "--cores", "2"), folder)
    assert result(folder) == truth


@pytest.mark.fault("a flipped byte in an index")
def test_an_index_that_changed(before: Callable[[str], Path], truth: dict[str, str]) -> None:
    folder = before("split")
    flip(folder / SHARDS / "index.parquet")
    printed = finish(launch(folder, "--cores", "2"), folder, code=2)
    assert "index.parquet: changed since it was written; delete" in printed
    shutil.rmtree(folder / SHARDS)
    finish(launch(folder, "--cores", "2"), folder)
    assert result(folder) == truth
