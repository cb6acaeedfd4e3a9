"""Downloads: verified, resumable, complete, and said in one clear line where they are not."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys.downloads import BIG, Toy, fetch, files, make_bucket, original
from toys.s3_server import Faults, flaky, s3_server

from cldtrans.errors import SourceError


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return make_bucket(tmp_path / "bucket")


@pytest.fixture
def endpoint(bucket: Path) -> Iterator[str]:
    with s3_server(bucket) as address:
        yield address


def test_bucket_and_mirror_give_the_same_files_and_stamp(bucket: Path, endpoint: str, tmp_path: Path) -> None:
    from_s3 = fetch("s3://physionet-open", tmp_path / "a", endpoint)
    by_address = fetch(f"{endpoint}/physionet-open", tmp_path / "b")
    from_mirror = fetch(str(bucket), tmp_path / "c")
    assert files(tmp_path / "a") == files(tmp_path / "b") == files(tmp_path / "c") == original(bucket)
    assert from_s3 == by_address == from_mirror
    assert from_s3["status"] == "ok" and from_s3["files"] == len(original(bucket)) - 1
    assert from_s3["bytes"] == sum(map(len, original(bucket).values())) - len(
        original(bucket)["SHA256SUMS.txt"]
    )
    lines = (bucket / "toy-set" / "1.0.0" / "SHA256SUMS.txt").read_text().splitlines()
    kept = sorted(line.replace(" ", "  ", 1) + "\n" for line in lines if "unused" not in line)
    assert from_s3["checksums_sha256"] == hashlib.sha256("".join(kept).encode()).hexdigest()
    assert "physionet-open" not in json.dumps(from_s3) and str(bucket) not in json.dumps(from_mirror)


def test_second_run_hashes_nothing_and_fetches_nothing(
    bucket: Path, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fetch("s3://physionet-open", tmp_path / "raw", endpoint)
    faults = Faults(lambda number, method, path: None)
    monkeypatch.setattr(
        "cldtrans.data.fetch.download.sha256_file", lambda path: pytest.fail(f"hashed {path}")
    )
    with flaky(endpoint, faults) as address:
        assert fetch("s3://physionet-open", tmp_path / "raw", address) == first
    assert all("SHA256SUMS.txt" in path for _, path, _ in faults.requests)


@pytest.mark.parametrize("mirror", [True, False])
def test_damaged_file_on_disk_is_found_and_replaced(
    mirror: bool, bucket: Path, endpoint: str, tmp_path: Path
) -> None:
    source = str(bucket) if mirror else f"{endpoint}/physionet-open"
    fetch(source, tmp_path / "raw")
    before = original(bucket)
    damaged = tmp_path / "raw" / "toy-set" / "1.0.0" / BIG
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1  # the same size: only the hash can tell
    damaged.unlink()
    damaged.write_bytes(content)
    fetch(source, tmp_path / "raw")
    assert files(tmp_path / "raw") == before == original(bucket)


def test_wrong_checksum_names_file_and_both_sums(bucket: Path, endpoint: str, tmp_path: Path) -> None:
    folder = bucket / "toy-set" / "1.0.0"
    (folder / "s1/r1.dat").write_bytes(b"not what the list says")
    found = hashlib.sha256(b"not what the list says").hexdigest()
    with pytest.raises(
        SourceError, match=rf"toy-set/1.0.0/s1/r1.dat: expected sha256 \w{{64}}, found {found}"
    ):
        fetch(str(bucket), tmp_path / "raw")
    with s3_server(bucket) as address:
        faults = Faults(lambda number, method, path: None)
        with flaky(address, faults) as proxy, pytest.raises(SourceError, match=f"found {found} twice"):
            fetch("s3://physionet-open", tmp_path / "raw2", proxy)
    assert len([1 for method, path, _ in faults.requests if method == "GET" and "r1.dat" in path]) == 2
    assert not (tmp_path / "raw2/toy-set/1.0.0/s1/r1.dat").exists()
    assert not list((tmp_path / "raw2").rglob("*.part"))


def test_too_small_a_disk_is_said_before_anything_is_fetched(
    bucket: Path, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(SourceError, match=r"3\.0 MB more are needed, 1\.0 MB are free; make room"):
        fetch("s3://physionet-open", tmp_path / "raw", endpoint)
    assert set(files(tmp_path / "raw")) == {"SHA256SUMS.txt"}
    fetch(str(bucket), tmp_path / "raw2")  # links need no room


def test_absent_dataset(bucket: Path, endpoint: str, tmp_path: Path) -> None:
    shutil.move(bucket / "toy-set", tmp_path / "away")
    with pytest.raises(
        SourceError, match=r"toy: expected toy-set/1.0.0/SHA256SUMS.txt at the source, found none"
    ):
        fetch(str(bucket), tmp_path / "raw")
    stamp = fetch(str(bucket), tmp_path / "raw", allow_absent=True)
    assert (stamp["status"], stamp["files"], stamp["checksums_sha256"]) == ("absent", 0, None)
    assert "SHA256SUMS.txt" in stamp["reason"] and not files(tmp_path / "raw")
    elsewhere = fetch("s3://physionet-open/no/such/prefix", tmp_path / "raw", endpoint, allow_absent=True)
    assert elsewhere == stamp


def test_listed_file_that_the_source_lacks(bucket: Path, tmp_path: Path) -> None:
    (bucket / "toy-set" / "1.0.0" / "s1" / "r1.dat").unlink()
    with pytest.raises(
        SourceError, match=r"1 of 11 files in SHA256SUMS.txt are not at the source, .*s1/r1.dat"
    ):
        fetch(str(bucket), tmp_path / "raw")
    stamp = fetch(str(bucket), tmp_path / "raw", allow_absent=True)
    assert stamp["status"] == "ok" and stamp["files"] == 10 and "s1/r1.dat" in stamp["reason"]


def test_two_downloads_at_once_wait_for_each_other(bucket: Path, endpoint: str, tmp_path: Path) -> None:
    stamps: list[dict] = []
    threads = [
        threading.Thread(
            target=lambda: stamps.append(fetch("s3://physionet-open", tmp_path / "raw", endpoint))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stamps) == 3 and stamps[0] == stamps[1] == stamps[2]
    assert files(tmp_path / "raw") == original(bucket)


def test_command_writes_the_stamp(bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cldtrans import config as config_module
    from cldtrans import data
    from cldtrans.cli import main
    from cldtrans.config import resolve

    settings = resolve([Path("config/config.yaml"), *sorted(Path("config/datasets").glob("*.yaml"))])
    settings = settings.model_copy(
        update={
            "raw": str(tmp_path / "raw"),
            "source": settings.source.model_copy(update={"url": str(bucket), "allow_absent": True}),
        }
    )
    monkeypatch.setattr(config_module, "load", lambda path: settings)
    monkeypatch.setattr(data, "get_dataset", lambda name: Toy())
    monkeypatch.delenv("CLDTRANS_MIRROR", raising=False)
    output = tmp_path / "download" / "siena.json"
    arguments = ["download", "--config", "x.json", "--dataset", "siena", "--output", str(output)]
    assert main(arguments) == 0
    assert json.loads(output.read_text())["status"] == "ok"
    assert main([*arguments, "--source", "/no/such/folder"]) == 2
