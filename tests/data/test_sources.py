"""Downloads: verified, resumable, selected; hostile and broken sources are refused with one clear line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.s3_server import Faults, flaky, s3_server

from cldtrans.data.fetch import sources as sources_module
from cldtrans.data.fetch.checksums import Checksums, Selection, safe_key, select
from cldtrans.data.fetch.download import download
from cldtrans.data.fetch.sources import Retry, open_source
from cldtrans.errors import SourceError

IMPATIENT = Retry(attempts=5, first_s=0.01, longest_s=0.02)
BIG = "s2/r3+1 ä.dat"


class Toy:
    """A dataset of subjects s1.. with recordings of two files each, a table for all and a note a subject."""

    name, slug, version = "toy", "toy-set", "1.0.0"

    def wanted(self, key: str) -> bool:
        return not key.startswith("unused/")

    def subject_of(self, key: str) -> str | None:
        return key.split("/")[0] if key.startswith("s") else None

    def record_of(self, key: str) -> str | None:
        return PurePosixPath(key).with_suffix("").as_posix() if key.endswith((".dat", ".hea")) else None


def write_list(folder: Path, extra: str = "") -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS.txt")
    lines = [
        f"{hashlib.sha256(f.read_bytes()).hexdigest()} {f.relative_to(folder).as_posix()}\n" for f in files
    ]
    (folder / "SHA256SUMS.txt").write_text("".join(lines) + extra)


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A bucket in a folder; the dataset's own folder is `toy-set/1.0.0`."""
    folder = tmp_path / "bucket" / "toy-set" / "1.0.0"
    random = np.random.default_rng(0)
    sizes = {"s1/r1": 1000, "s1/r2": 0, "s2/r3+1 ä": 3_000_000, "s10/r4": 5000, "unused/r9": 10}
    for record, size in sizes.items():
        (folder / record).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{record}.dat").write_bytes(random.bytes(size))
        (folder / f"{record}.hea").write_text(record)
    (folder / "s1" / "note.txt").write_text("subject 1")
    (folder / "s2" / "note.txt").write_text("subject 2")
    (folder / "RECORDS").write_text("s1/r1\n")
    write_list(folder)
    return tmp_path / "bucket"


@pytest.fixture
def endpoint(bucket: Path) -> Iterator[str]:
    with s3_server(bucket) as address:
        yield address


def files(root: Path) -> dict[str, bytes]:
    """What a download left, its own memory apart."""
    folder = root / "toy-set" / "1.0.0"
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {key: path.read_bytes() for key, path in found.items() if not key.startswith(".download/")}


def original(bucket: Path, but: tuple[str, ...] = ("unused/r9.dat", "unused/r9.hea")) -> dict[str, bytes]:
    return {key: content for key, content in files(bucket).items() if key not in but}


def fetch(url: str, root: Path, endpoint: str | None = None, **options: object) -> dict:
    return download(open_source(url, endpoint, IMPATIENT), Toy(), root, progress=False, **options)  # type: ignore[arg-type]


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


def test_a_server_that_ignores_ranges_is_asked_again_from_the_start(
    bucket: Path, endpoint: str, tmp_path: Path
) -> None:
    content = (bucket / "toy-set" / "1.0.0" / BIG).read_bytes()
    part = tmp_path / "part"
    part.write_bytes(content[:30_000])
    came: list[int] = []
    faults = Faults(lambda number, method, path: "whole")
    with flaky(endpoint, faults) as address:
        source = open_source("s3://physionet-open", address, Retry(attempts=2, first_s=0.01))
        source.fetch(f"toy-set/1.0.0/{BIG}", len(content), part, tmp_path / "a.edf", came.append)
    assert part.read_bytes() == content and sum(came) == len(content) - 30_000
    assert [byte_range for _, _, byte_range in faults.requests] == ["bytes=30000-", None]


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
    (part,) = [p for p in (tmp_path / "raw").rglob("*.part") if p.stat().st_size > 1_000_000]
    held = part.stat().st_size
    faults = Faults(lambda number, method, path: None)
    with flaky(endpoint, faults) as address:
        fetch("s3://physionet-open", tmp_path / "raw", address)
    assert files(tmp_path / "raw") == original(bucket)
    assert f"bytes={held}-" in [byte_range for _, _, byte_range in faults.requests]
    assert not list((tmp_path / "raw").rglob("*.part"))


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


@pytest.mark.parametrize(
    ("selection", "records"),
    [
        (Selection(subjects=1), {"s1/r1", "s1/r2"}),
        (Selection(subjects=2), {"s1/r1", "s1/r2", "s10/r4"}),  # in order of path
        (Selection(records=1), {"s1/r1"}),
        (Selection(subjects=2, records=3), {"s1/r1", "s1/r2", "s10/r4"}),
        (Selection(glob=("*r3*.hea",)), {"s2/r3+1 ä"}),
        (Selection(glob=("s2/*", "s10/*"), records=1), {"s10/r4"}),
    ],
)
def test_selection_keeps_records_whole_and_tables_along(
    selection: Selection, records: set[str], bucket: Path, tmp_path: Path
) -> None:
    stamp = fetch(str(bucket), tmp_path / "raw", selection=selection)
    got = set(files(tmp_path / "raw"))
    subjects = {record.split("/")[0] for record in records}
    notes = {f"{subject}/note.txt" for subject in subjects & {"s1", "s2"}}
    assert got == {f"{r}{end}" for r in records for end in (".dat", ".hea")} | notes | {
        "RECORDS",
        "SHA256SUMS.txt",
    }
    assert stamp["files"] == len(got) - 1
    assert stamp["selection"]["subjects"] == selection.subjects


def test_selection_of_nothing_is_an_error(bucket: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"toy: expected recordings that match \*r7\*, found none"):
        fetch(str(bucket), tmp_path / "raw", selection=Selection(glob=("*r7*",)))


@pytest.mark.parametrize(
    "key",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a\\b",
        "a\0b",
        "a//b",
        "./../x",
        "C:/x",
        "a/..",
        "",
        ".download/lock",
        "a\nb",
    ],
)
def test_hostile_keys_are_refused(key: str) -> None:
    with pytest.raises(SourceError, match=r"origin: expected a relative file name"):
        safe_key(key, "origin")


@given(st.text(max_size=30))
def test_accepted_keys_stay_below_the_folder(key: str) -> None:
    try:
        safe_key(key, "origin")
    except SourceError:
        return
    assert os.path.normpath(f"/root/folder/{key}") == f"/root/folder/{key}"
    assert not PurePosixPath(key).is_absolute()


@pytest.mark.parametrize("line", ["../../evil.dat", "/tmp/evil.dat", "s1\\evil.dat"])
def test_hostile_list_writes_nothing(line: str, bucket: Path, tmp_path: Path) -> None:
    write_list(bucket / "toy-set" / "1.0.0", extra=f"{'0' * 64}  {line}\n")
    with pytest.raises(SourceError, match="would leave the dataset's folder"):
        fetch(str(bucket), tmp_path / "raw")
    assert set(files(tmp_path / "raw")) == {"SHA256SUMS.txt"}


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


def test_malformed_list_is_named(bucket: Path, tmp_path: Path) -> None:
    (bucket / "toy-set" / "1.0.0" / "SHA256SUMS.txt").write_text("<html>" + "x" * 80 + "</html>\n")
    with pytest.raises(SourceError, match=r"SHA256SUMS.txt: expected '<sha256>  <file>', found"):
        fetch(str(bucket), tmp_path / "raw")


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


def test_long_list_needs_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    n = 20_000
    path = tmp_path / "SHA256SUMS.txt"
    digests = (hashlib.sha256(str(k).encode()).hexdigest() for k in range(n))
    path.write_text("".join(f"{digest} files/p{k // 100:04d}/r{k}.dat\n" for k, digest in enumerate(digests)))
    tracemalloc.start()
    checksums = Checksums(path)
    rows = select(checksums, Toy(), Selection())
    digest = checksums.fingerprint(rows)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == n and len(digest) == 64
    assert held < 60 * n and peak < 300 * n


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
