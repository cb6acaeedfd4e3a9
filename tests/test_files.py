"""Files that are whole or absent."""

import hashlib
import json
from pathlib import Path

import pytest
from toys.paths import PROJECT

from cldtrans.files import atomic_path, project_folder, sha256_file, write_json


def test_an_error_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in ("first", "second"):
        with atomic_path(path) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [entry.name for entry in path.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [path]


def test_json_holds_numbers_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1, 2.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1, 2.5]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1, 2.5]}


def test_a_hash_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_the_project_lies_around_the_package() -> None:
    assert (project_folder() / "Snakefile").is_file() and project_folder() == PROJECT
