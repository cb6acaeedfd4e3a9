"""Fixtures that several test modules share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest miniature of PhysioNet; tests that change a file copy it first."""
    from cldtrans.data.miniature import write_miniature

    folder = tmp_path_factory.mktemp("mirror") / "tiny"
    assert write_miniature(folder, "tiny")
    return folder
