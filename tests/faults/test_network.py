"""A source that fails, stalls and lies: right files in the end, or an error and no file."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys.downloads import Toy, files, make_bucket, original
from toys.faults import POINTS
from toys.s3_server import Faults, flaky, s3_server

from cldtrans.data.fetch.download import download
from cldtrans.data.fetch.sources import Retry, open_source
from cldtrans.errors import SourceError

PATIENCE = Retry(attempts=6, first_s=0.01, longest_s=0.02, stall_s=0.5, transfer_s=2.0)
WORDS = {
    "500": "S3: error 500",
    "503": "S3: error 503 (rate limit)",
    "drop": "S3: a body that ends half-way",
    "hang": "S3: a body that stops coming",
    "trickle": "S3: a body that comes byte by byte",
    "endless": "S3: a body without end",
    "flipped": "S3: a body with a wrong byte",
}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bucket(tmp_path_factory.mktemp("bucket"))


@pytest.fixture(scope="module")
def endpoint(bucket: Path) -> Iterator[str]:
    with s3_server(bucket) as address:
        yield address


@pytest.mark.parametrize("seed", range(POINTS))
@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=pytest.mark.fault(said)) for name, said in WORDS.items()]
)
def test_some_answers_are_bad(bucket: Path, endpoint: str, tmp_path: Path, fault: str, seed: int) -> None:
    rng = random.Random(seed)
    struck: set[str] = set()

    def choose(number: int, method: str, path: str) -> str | None:
        """One bad answer a file, of a third of the files, and of one at least."""
        if method != "GET" or "toy-set" not in path or path in struck or "SHA256SUMS" in path:
            return None
        if struck and rng.random() > 1 / 3:
            return None
        struck.add(path)
        return fault

    with flaky(endpoint, Faults(choose)) as address:
        source = open_source("s3://physionet-open", address, PATIENCE)
        download(source, Toy(), tmp_path / "raw", progress=False)
    assert struck and files(tmp_path / "raw") == original(bucket)


@pytest.mark.fault("S3: a file that is always wrong")
def test_what_is_always_wrong_never_becomes_a_file(bucket: Path, endpoint: str, tmp_path: Path) -> None:
    faults = Faults(lambda n, method, path: "flipped" if method == "GET" and "s10" in path else None)
    with flaky(endpoint, faults) as address, pytest.raises(SourceError, match=r"expected sha256 .* twice"):
        source = open_source("s3://physionet-open", address, PATIENCE)
        download(source, Toy(), tmp_path / "raw", progress=False)
    found = files(tmp_path / "raw")
    assert all(content == original(bucket)[name] for name, content in found.items())


@pytest.mark.fault("S3: a service that is gone")
def test_a_service_that_is_gone_is_one_line(bucket: Path, endpoint: str, tmp_path: Path) -> None:
    gone = Faults(lambda number, method, path: "503")
    with flaky(endpoint, gone) as address, pytest.raises(SourceError, match="failed 6 times in a row"):
        source = open_source("s3://physionet-open", address, PATIENCE)
        download(source, Toy(), tmp_path / "raw", progress=False)
    source = open_source("s3://physionet-open", endpoint, PATIENCE)
    download(source, Toy(), tmp_path / "raw", progress=False)
    assert files(tmp_path / "raw") == original(bucket)
