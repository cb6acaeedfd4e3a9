"""A dataset of a few small files in a bucket, and downloads of it."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import numpy as np

from cldtrans.data.fetch.download import download
from cldtrans.data.fetch.sources import Retry, open_source

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


def make_bucket(bucket: Path) -> Path:
    """Fill a bucket in a folder; the dataset's own folder is `toy-set/1.0.0`."""
    folder = bucket / "toy-set" / "1.0.0"
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
    return bucket


def files(root: Path) -> dict[str, bytes]:
    """What a download left, its own memory apart."""
    folder = root / "toy-set" / "1.0.0"
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {key: path.read_bytes() for key, path in found.items() if not key.startswith(".download/")}


def original(bucket: Path, but: tuple[str, ...] = ("unused/r9.dat", "unused/r9.hea")) -> dict[str, bytes]:
    return {key: content for key, content in files(bucket).items() if key not in but}


def fetch(url: str, root: Path, endpoint: str | None = None, **options: object) -> dict:
    return download(open_source(url, endpoint, IMPATIENT), Toy(), root, progress=False, **options)  # type: ignore[arg-type]
