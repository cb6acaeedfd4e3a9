"""Are raw files still what the download verified? Asked before they are read, perhaps weeks later."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cldtrans.data.fetch.checksums import LIST, WORK, Checksums, KeyedDataset
from cldtrans.errors import SourceError
from cldtrans.files import sha256_file


class RawSums:
    """Sums of the files of some recordings, and of the dataset's tables.

    Parameters
    ----------
    dataset : KeyedDataset
        Which files belong together.
    folder : Path
        The dataset's folder of raw files; one without a list of sums is not checked.
    paths : iterable of str
        Recordings by their path in that folder, with or without an extension.
    """

    def __init__(self, dataset: KeyedDataset, folder: Path, paths: Iterable[str]) -> None:
        self._dataset, self._folder = dataset, folder
        self._files: dict[str, list[tuple[str, str]]] = {}
        self._tables: list[tuple[str, str]] = []
        listed = next((path for path in (folder / LIST, folder / WORK / LIST) if path.is_file()), None)
        if listed is None:
            return
        wanted = {self._record(path) for path in paths}
        checksums = Checksums(listed)
        for row in range(len(checksums)):
            key, digest = checksums.line(row)
            record = dataset.record_of(key)
            if record in wanted and record is not None:
                self._files.setdefault(record, []).append((key, digest))
            elif record is None and key != LIST and dataset.wanted(key):
                self._tables.append((key, digest))

    def check_tables(self) -> None:
        """Hash the dataset's tables and lists."""
        self._check(self._tables)

    def check(self, path: str) -> None:
        """Hash the files of one recording.

        Raises
        ------
        SourceError
            Where one is not what its list says.
        """
        self._check(self._files.get(self._record(path) or "", []))

    def _record(self, path: str) -> str | None:
        """Of a WFDB record the tables have no extension."""
        return self._dataset.record_of(path) or self._dataset.record_of(f"{path}.hea")

    def _check(self, files: list[tuple[str, str]]) -> None:
        for key, expected in files:
            file = self._folder / key
            if not file.is_file():
                continue  # not selected, or its absence was allowed: reading it says so
            found = sha256_file(file)
            if found != expected:
                raise SourceError(
                    f"{file}: expected sha256 {expected[:12]}…, found {found[:12]}…: it changed since its "
                    f"download; delete it and data/<run>/download/{self._dataset.name}.json, and run again"
                )
