"""Where recordings come from: an S3 bucket or a local mirror folder with the same keys.

S3 is read with obstore: it runs inside the process, so bytes are hashed while they stream and a killed run
leaves only our own resumable parts, where s5cmd (as fast) leaves stray files and needs a second pass for the
hashes, and boto3 takes twice as long because it asks for every object's head first.

A mirror is read-only and may be huge, so its files are linked, not copied. The links are symbolic and
relative: they work across file systems and for files of another owner, and since a download only ever renames
onto a name, nothing is written through them; a hard link would share the inode, and with it every later chmod
or truncation.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import numpy as np

from cldtrans.errors import SourceError
from cldtrans.files import sha256_file

REGION = "us-east-1"  # of PhysioNet's bucket; another service ignores it
CHUNK_BYTES = 1 << 18  # what a dropped connection may lose
HEADS = 500  # up to this many sizes are asked for one by one, more come from one listing
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Retry:
    """Patience with 5xx answers, dropped connections and bodies that do not come.

    Attributes
    ----------
    attempts : int
        Attempts without progress.
    first_s, longest_s : float
        The pauses between them, which double.
    stall_s : float
        How long nothing may come.
    transfer_s : float
        How long one answer may take in all, so that one that trickles ends, too; a large object on a slow
        line is continued where it was cut.
    """

    attempts: int = 8
    first_s: float = 0.5
    longest_s: float = 30.0
    stall_s: float = 20.0
    transfer_s: float = 300.0


class Source(Protocol):
    """A bucket, read by key."""

    copies: bool  # whether fetched files take room on the local disk

    def sizes(self, prefix: str, keys: Iterable[str], count: int) -> np.ndarray:
        """Return the sizes of keys under a prefix.

        Parameters
        ----------
        prefix : str
            Folder of the keys.
        keys : iterable of str
            File names under the prefix.
        count : int
            Their number.

        Returns
        -------
        array [count] of int64
            Bytes; -1 where the source lacks the key.
        """

    def fetch(self, key: str, size: int, part: Path, target: Path, tick: Callable[[int], None]) -> str:
        """Put the object (or a link to it) at `part`, to be renamed to `target`.

        Parameters
        ----------
        key : str
            Full key.
        size : int
            The object's, in bytes.
        part : Path
            Continued where an earlier transfer was interrupted.
        target : Path
            Where the file will lie in the end.
        tick : callable
            Is told the bytes as they come.

        Returns
        -------
        str
            The object's sha256.
        """

    def read_small(self, key: str, path: Path) -> bool:
        """Copy a list or table to `path`; return False where the source lacks it."""

    def folder_of(self, prefix: str) -> Path | None:
        """Return the folder that holds a prefix's files, where they can be listed without a list of sums."""


def open_source(url: str, endpoint: str | None = None, retry: Retry | None = None) -> Source:
    """Open a source by its address.

    Parameters
    ----------
    url : str
        `s3://bucket[/prefix]`, read anonymously; `http(s)://host/bucket[/prefix]` for any other S3
        service; or a folder.
    endpoint : str, optional
        The S3 service's address when it is not Amazon's.
    retry : Retry, optional
        Patience with an S3 service.

    Raises
    ------
    SourceError
        For an address of another kind, or a folder that does not exist.
    """
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        endpoint = f"{parts.scheme}://{parts.netloc}"
        bucket, _, prefix = parts.path.strip("/").partition("/")
        return S3Source(bucket, prefix, endpoint, retry or Retry())
    if parts.scheme == "s3":
        return S3Source(parts.netloc, parts.path.strip("/"), endpoint, retry or Retry())
    if parts.scheme:
        raise SourceError(f"source {url!r}: expected s3://bucket, http(s)://host/bucket or a folder")
    folder = Path(url).expanduser()
    if not folder.is_dir():
        raise SourceError(
            f"source {url!r}: expected a folder laid out like the bucket, found none; check the path"
        )
    return MirrorSource(folder)


class S3Source:
    """A bucket read anonymously through obstore."""

    copies = True

    def __init__(self, bucket: str, prefix: str, endpoint: str | None, retry: Retry) -> None:
        from obstore.store import S3Store

        if not bucket:
            raise SourceError("source: expected s3://bucket[/prefix], found no bucket")
        self.name = f"s3://{bucket}" + (f" at {endpoint}" if endpoint else "")
        self._prefix = f"{prefix}/" if prefix else ""
        self._retry = retry
        client: Any = {
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": timedelta(seconds=20),
            "read_timeout": timedelta(seconds=retry.stall_s),
            "timeout": timedelta(seconds=retry.transfer_s),
        }
        options: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
        self._store = S3Store(
            bucket,
            region=REGION,
            skip_signature=True,
            client_options=client,
            retry_config={"max_retries": 0},  # all patience is in one place, here
            **options,
        )

    def sizes(self, prefix: str, keys: Iterable[str], count: int) -> np.ndarray:
        """Ask for few objects one by one; list the whole prefix for many."""
        if count <= HEADS:
            return self._heads(prefix, list(keys))
        # Sizes of 1.6 million objects without 1.6 million strings: keys are compared by 64-bit hash.
        hashes = np.fromiter((hash(key) for key in keys), dtype=np.int64, count=count)
        order = np.argsort(hashes)
        hashes = hashes[order]
        base = f"{self._prefix}{prefix}"

        def listing() -> np.ndarray:
            sizes = np.full(count, -1, dtype=np.int64)
            for chunk in self._store.list(base):
                found = np.array([hash(item["path"][len(base) + 1 :]) for item in chunk], dtype=np.int64)
                where = np.minimum(np.searchsorted(hashes, found), count - 1)
                match = hashes[where] == found
                sizes[order[where[match]]] = np.array([item["size"] for item in chunk], dtype=np.int64)[match]
            return sizes

        return self._patiently(f"listing of {base}", listing)

    def fetch(self, key: str, size: int, part: Path, target: Path, tick: Callable[[int], None]) -> str:
        """Stream the object to `part`, hashing as it comes."""
        return self._patiently(key, lambda: self._stream(key, size, part, tick), part)

    def folder_of(self, prefix: str) -> None:
        """Return None: what a bucket holds is not taken without its list of sums."""

    def read_small(self, key: str, path: Path) -> bool:
        """Fetch a list or table anew; return False where the bucket lacks it."""
        prefix, _, name = key.rpartition("/")
        size = int(self._heads(prefix, [name])[0])
        if size < 0:
            return False
        path.unlink(missing_ok=True)
        self.fetch(key, size, path, path, lambda n: None)
        return True

    def _heads(self, prefix: str, keys: list[str]) -> np.ndarray:
        from concurrent.futures import ThreadPoolExecutor

        def head(key: str) -> int:
            try:
                return int(self._store.head(f"{self._prefix}{prefix}/{key}")["size"])
            except FileNotFoundError:
                return -1

        with ThreadPoolExecutor(16) as pool:
            sizes = pool.map(lambda key: self._patiently(f"{prefix}/{key}", lambda: head(key)), keys)
            return np.fromiter(sizes, dtype=np.int64, count=len(keys))

    def _stream(self, key: str, size: int, part: Path, tick: Callable[[int], None]) -> str:
        """Continue `part` to the object's end; whatever came is kept when the connection drops."""
        digest = hashlib.sha256()
        done = part.stat().st_size if part.exists() else 0
        if done > size or size < 0:
            part.unlink(missing_ok=True)
            done = 0
        if done:
            with part.open("rb") as file:
                for block in iter(lambda: file.read(CHUNK_BYTES), b""):
                    digest.update(block)
        if done < size or not part.exists():
            options: Any = {"range": {"offset": done}} if done else None
            from obstore import exceptions, get

            try:
                response = get(self._store, f"{self._prefix}{key}", options=options)
            except exceptions.BaseError as error:
                if not done or not _without_ranges(error):
                    raise
                # A cache in front of the service answers with the whole object: from the beginning, then.
                tick(-done)
                part.unlink()
                digest, done = hashlib.sha256(), 0
                response = get(self._store, f"{self._prefix}{key}")
            with part.open("ab") as file:
                for chunk in response.stream(CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    tick(len(chunk))
                    if 0 <= size < done:
                        break  # a body without end would fill the disk
            if 0 <= size != done:
                raise ConnectionError(f"{done} of {size} bytes came")
        return digest.hexdigest()

    def _patiently(self, what: str, call: Callable[[], Outcome], part: Path | None = None) -> Outcome:
        """Repeat a call after server errors and dropped connections, with growing pauses."""
        from obstore import exceptions

        attempt, before = 0, -1
        while True:
            try:
                return call()
            except FileNotFoundError as error:
                raise SourceError(
                    f"{what}: {self.name} lacks it; check the source and the version"
                ) from error
            except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
                raise SourceError(
                    f"{what}: {self.name} refuses anonymous access; check the address"
                ) from error
            except (exceptions.BaseError, ConnectionError, TimeoutError) as error:
                held = part.stat().st_size if part is not None and part.exists() else -1
                attempt = 1 if held > before else attempt + 1
                before = max(before, held)
                if attempt >= self._retry.attempts:
                    raise SourceError(
                        f"{what}: {self.name} failed {attempt} times in a row ({_first_line(error)}); what "
                        "has come is kept: run it again when the service is back"
                    ) from error
                pause = min(self._retry.longest_s, self._retry.first_s * 2 ** (attempt - 1))
                time.sleep(
                    pause * random.uniform(0.5, 1.0)
                )  # spread, so that workers do not come back together


class MirrorSource:
    """A folder with the bucket's keys, never written to."""

    copies = False

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder.resolve()
        self._resolved = lru_cache(maxsize=4096)(lambda parent: parent.resolve())

    def sizes(self, prefix: str, keys: Iterable[str], count: int) -> np.ndarray:
        """Read the sizes from the file system."""

        def sizes() -> Iterator[int]:
            for key in keys:
                try:
                    yield self._locate(f"{prefix}/{key}").stat().st_size
                except OSError:
                    yield -1

        return np.fromiter(sizes(), dtype=np.int64, count=count)

    def fetch(self, key: str, size: int, part: Path, target: Path, tick: Callable[[int], None]) -> str:
        """Hash the file and link to it from `part`."""
        file = self._locate(key)
        try:
            digest = sha256_file(file)
        except OSError as error:
            raise SourceError(f"{file}: cannot be read ({error.strerror}); check the mirror") from error
        part.unlink(missing_ok=True)
        part.symlink_to(os.path.relpath(file, self._resolved(target.parent)))
        tick(size)
        return digest

    def read_small(self, key: str, path: Path) -> bool:
        """Copy a list or table; return False where the mirror lacks it."""
        try:
            path.write_bytes(self._locate(key).read_bytes())
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SourceError(
                f"{self.name}/{key}: cannot be read ({error.strerror}); check the mirror"
            ) from error
        return True

    def folder_of(self, prefix: str) -> Path | None:
        """Return the mirror's folder of a prefix, if there is one."""
        folder = self._folder / prefix
        return folder if folder.is_dir() else None

    def _locate(self, key: str) -> Path:
        """Return the file of a key; SourceError where a link leads out of the mirror."""
        file = self._folder / key
        real = file.resolve() if file.is_symlink() else self._resolved(file.parent) / file.name
        if not real.is_relative_to(self._folder):
            raise SourceError(
                f"{file}: expected a file inside the mirror {self._folder}, found a link to {real}; "
                "it is not followed: give the folder that holds the files as the source"
            )
        return real


# As obstore words it; an address may hold any of the words alone.
_NOT_THE_RANGE = re.compile(
    r"received non-partial response|status code: 416|content.range header|requested \d+\.\.\d+, got \d+\.\."
)


def _without_ranges(error: Exception) -> bool:
    """Whether a service did not send the range that was asked for: all of it, another part, or none (416)."""
    return _NOT_THE_RANGE.search(_first_line(error).lower()) is not None


def _first_line(error: Exception) -> str:
    """Return an obstore error's gist: its text goes on with a debug dump over many lines."""
    text = " ".join(str(error).split("Debug source")[0].split())
    return text[:300]
