"""Fixtures that several test modules share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import toys.shapes  # noqa: F401 - named below
from hypothesis import settings
from jaxtyping import install_import_hook
from toys import slurm as slurm_module
from toys.slurm import Slurm

settings.register_profile(
    "untimed", deadline=None
)  # a first call that imports, or a busy machine, is no fault
settings.load_profile("untimed")
install_import_hook("cldtrans", "toys.shapes.checked")


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest miniature of PhysioNet; tests that change a file copy it first."""
    from cldtrans.data.miniature import write_miniature

    folder = tmp_path_factory.mktemp("mirror") / "tiny"
    assert write_miniature(folder, "tiny")
    return folder


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A running Slurm, shared by the tests of a process."""
    reason = slurm_module.why_not()
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:  # short: sockets lie in it
        running = slurm_module.start(Path(folder) / "s")
        try:
            yield running
        finally:
            running.stop()
