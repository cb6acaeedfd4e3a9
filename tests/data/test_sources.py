"""How bytes come: servers that fail, stop and ignore what was asked; mirrors, links, addresses."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys.downloads import BIG, IMPATIENT, fetch, files, make_bucket, original, write_list
from toys.s3_server import Faults, flaky, s3_server

from cldtrans.data.fetch import sources as sources_module
from cldtrans.data.fetch.sources import Retry, open_source
from cldtrans.errors import SourceError


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return make_bucket(tmp_path / "bucket")


@pytest.fixture
def endpoint(bucket: Path) -> Iterator[str]:
    with s3_server(bucket) as address:
        yield address


def test_sizes_from_one_listing_equal_sizes_one_by_one(
    bucket: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [key for key in original(bucket) if key != "SHA256SUMS.txt"] + ["absent.dat"]
    source = open_source("s3://physionet-open", endpoint, IMPATIENT)
    expected = [len(original(bucket).get(key, b"")) for key in keys[:-1]] + [-1]
    assert source.sizes("toy-set/1.0.0", keys, len(keys)).tolist() == expected
    monkeypatch.setattr(sources_module, "HEADS", 1)
    assert source.sizes("toy-set/1.0.0", keys, len(keys)).tolist() == expected
    assert open_source(str(bucket)).sizes("toy-set/1.0.0", keys, len(keys)).tolist() == expected


def test_server_errors_and_dropped_connections_are_survived(
    bucket: Path, endpoint: str, tmp_path: Path
) -> None:
    drops = iter(range(3))

    def choose(number: int, method: str, path: str) -> str | None:
        if method == "GET" and "r3" in path and next(drops, None) is not None:
            return "drop"
        return "500" if number % 4 == 0 else None

    faults = Faults(choose)
    with flaky(endpoint, faults) as address:
        fetch("s3://physionet-open", tmp_path / "raw", address)
    assert files(tmp_path / "raw") == original(bucket)
    continued = [byte_range for _, path, byte_range in faults.requests if byte_range and "r3" in path]
    assert continued and all(not byte_range.startswith("bytes=0-") for byte_range in continued)


@pytest.mark.parametrize("fault", ["whole", "416", "elsewhere", "untold"])
def test_a_server_that_does_not_send_the_range_is_asked_again_from_the_start(
    fault: str, bucket: Path, endpoint: str, tmp_path: Path
) -> None:
    content = (bucket / "toy-set" / "1.0.0" / BIG).read_bytes()
    part = tmp_path / "part"
    part.write_bytes(content[:30_000])
    came: list[int] = []
    faults = Faults(lambda number, method, path: fault)
    with flaky(endpoint, faults) as address:
        source = open_source("s3://physionet-open", address, Retry(attempts=2, first_s=0.01))
        key = f"toy-set/1.0.0/{BIG}"
        found = source.fetch(key, len(content), part, tmp_path / "a.edf", came.append)
    assert found == hashlib.sha256(content).hexdigest()  # of all of it, not of what had come before, too
    assert part.read_bytes() == content and sum(came) == len(content) - 30_000
    assert [byte_range for _, _, byte_range in faults.requests] == ["bytes=30000-", None]


def test_a_servers_error_costs_nothing_of_what_has_come(tmp_path: Path) -> None:
    """Whatever the file is called: the address is a part of the message."""
    folder = tmp_path / "bucket" / "a"
    folder.mkdir(parents=True)
    name = "non-partial content-range 416 requested.dat"
    (folder / name).write_bytes(b"0" * 60_000)
    part = tmp_path / "part"
    part.write_bytes(b"0" * 30_000)
    faults = Faults(lambda number, method, path: "500" if number == 1 else None)
    with s3_server(tmp_path / "bucket") as endpoint, flaky(endpoint, faults) as address:
        source = open_source("s3://physionet-open", address, IMPATIENT)
        source.fetch(f"a/{name}", 60_000, part, tmp_path / "a.dat", lambda n: None)
    assert [byte_range for _, _, byte_range in faults.requests] == ["bytes=30000-"] * 2


def test_endless_server_errors_end_in_one_line(bucket: Path, endpoint: str, tmp_path: Path) -> None:
    faults = Faults(lambda number, method, path: "500" if "r4" in path else None)
    with (
        flaky(endpoint, faults) as address,
        pytest.raises(SourceError, match=r"s10/r4.*failed 5 times") as caught,
    ):
        fetch("s3://physionet-open", tmp_path / "raw", address)
    assert "\n" not in str(caught.value)
    fetch("s3://physionet-open", tmp_path / "raw", endpoint)
    assert files(tmp_path / "raw") == original(bucket)


@pytest.mark.parametrize("fault", ["hang", "trickle", "endless"])
def test_a_body_that_never_ends_costs_seconds_and_the_file_comes_right(
    bucket: Path, endpoint: str, tmp_path: Path, fault: str
) -> None:
    key = f"toy-set/1.0.0/{BIG}"
    expected = (bucket / key).read_bytes()
    bad = iter([fault])  # the first answer of a body alone
    faults = Faults(lambda number, method, path: next(bad, None) if method == "GET" else None)
    started = time.monotonic()
    with flaky(endpoint, faults) as address:
        patience = Retry(attempts=3, first_s=0.01, stall_s=1.0, transfer_s=2.0)
        source = open_source("s3://physionet-open", address, patience)
        part = tmp_path / "part"
        digest = source.fetch(key, len(expected), part, tmp_path / "file", lambda n: None)
    assert part.read_bytes() == expected and digest == hashlib.sha256(expected).hexdigest()
    assert time.monotonic() - started < 10


def test_a_body_without_end_does_not_fill_the_disk(bucket: Path, endpoint: str, tmp_path: Path) -> None:
    key = f"toy-set/1.0.0/{BIG}"
    size = (bucket / key).stat().st_size
    faults = Faults(lambda number, method, path: "endless" if method == "GET" else None)
    with flaky(endpoint, faults) as address:
        source = open_source("s3://physionet-open", address, Retry(attempts=2, first_s=0.01, transfer_s=5))
        with pytest.raises(SourceError, match="failed 2 times in a row"):
            source.fetch(key, size, tmp_path / "part", tmp_path / "file", lambda n: None)
    assert size < (tmp_path / "part").stat().st_size < size + (1 << 20)


def test_interrupted_download_continues_from_the_part(bucket: Path, endpoint: str, tmp_path: Path) -> None:
    broken = threading.Event()

    def choose(number: int, method: str, path: str) -> str | None:
        if method == "GET" and "r3" in path and path.endswith(".dat"):
            if broken.is_set():
                return "500"
            broken.set()
            return "drop"
        return None

    with flaky(endpoint, Faults(choose)) as address, pytest.raises(SourceError):
        fetch("s3://physionet-open", tmp_path / "raw", address)
    parts = {part.name: part.stat().st_size for part in (tmp_path / "raw").rglob("*.part")}
    large = [size for size in parts.values() if size > 1_000_000]
    assert len(large) == 1, parts
    held = large[0]
    faults = Faults(lambda number, method, path: None)
    with flaky(endpoint, faults) as address:
        fetch("s3://physionet-open", tmp_path / "raw", address)
    assert files(tmp_path / "raw") == original(bucket)
    assert f"bytes={held}-" in [byte_range for _, _, byte_range in faults.requests]
    assert not list((tmp_path / "raw").rglob("*.part"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://x/y", "expected s3://bucket"),
        ("/no/such/folder", "expected a folder"),
        ("s3://", "found no bucket"),
    ],
)
def test_impossible_addresses(url: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(url)


def test_links_out_of_mirror_or_raw_folder_are_not_followed(bucket: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.dat").write_bytes(b"secret")
    folder = bucket / "toy-set" / "1.0.0"
    (folder / "leak").symlink_to(outside)
    write_list(folder, extra=f"{hashlib.sha256(b'secret').hexdigest()}  leak/secret.dat\n")
    with pytest.raises(SourceError, match=r"leak/secret.dat: expected a file inside the mirror"):
        fetch(str(bucket), tmp_path / "raw")
    (folder / "leak").unlink()
    write_list(folder)
    raw = tmp_path / "raw2" / "toy-set" / "1.0.0"
    raw.mkdir(parents=True)
    (raw / "s1").symlink_to(outside)
    with pytest.raises(SourceError, match=r"s1: expected a folder inside .*, found a link"):
        fetch(str(bucket), tmp_path / "raw2")
    assert [path.name for path in outside.iterdir()] == ["secret.dat"]


def test_mirror_is_linked_and_never_changed(bucket: Path, tmp_path: Path) -> None:
    for path in bucket.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in bucket.rglob("*")}
    fetch(str(bucket), tmp_path / "raw")
    link = tmp_path / "raw" / "toy-set" / "1.0.0" / BIG
    assert link.is_symlink() and not link.readlink().is_absolute()
    assert {path: path.stat().st_mtime_ns for path in bucket.rglob("*")} == before
    for path in bucket.rglob("*"):
        path.chmod(0o755)


def test_another_mirror_replaces_the_links_of_the_first(bucket: Path, tmp_path: Path) -> None:
    fetch(str(bucket), tmp_path / "raw")
    other = tmp_path / "other" / "toy-set" / "1.0.0"
    other.mkdir(parents=True)
    (other / "s5.dat").write_bytes(b"another recording")
    write_list(other)
    fetch(str(tmp_path / "other"), tmp_path / "raw")
    assert set(files(tmp_path / "raw")) == {"s5.dat", "SHA256SUMS.txt"}
