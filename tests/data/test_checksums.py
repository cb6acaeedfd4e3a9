"""Lists of files: hostile and malformed ones, long ones, and what of them is wanted."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.downloads import Toy, fetch, files, make_bucket, write_list

from cldtrans.data.fetch.checksums import Checksums, Selection, safe_key, select
from cldtrans.errors import SourceError


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return make_bucket(tmp_path / "bucket")


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


def test_malformed_list_is_named(bucket: Path, tmp_path: Path) -> None:
    (bucket / "toy-set" / "1.0.0" / "SHA256SUMS.txt").write_text("<html>" + "x" * 80 + "</html>\n")
    with pytest.raises(SourceError, match=r"SHA256SUMS.txt: expected '<sha256>  <file>', found"):
        fetch(str(bucket), tmp_path / "raw")


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
