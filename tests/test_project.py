"""Files at the project's root that repeat something: each agrees with where it is decided."""

import re
import tomllib

import pytest
import torch
import yaml
from toys.paths import PROJECT

import cldtrans


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert str(citation["version"]) == cldtrans.__version__


def test_commits_are_judged_by_the_linters_of_make() -> None:
    hooks = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    before_commit = {" ".join(hook["entry"].split()[:2]) for hook in hooks[0]["hooks"]}
    recipe = (PROJECT / "Makefile").read_text().split("\nlint:", 1)[1].split("\n\n", 1)[0]
    by_make = re.findall(r"^\t\$\(BIN\)/(ruff \w+|[\w-]+)", recipe, re.MULTILINE)
    tools = {entry.removeprefix(".venv/bin/").removesuffix(" --force-exclude") for entry in before_commit}
    assert tools == set(by_make)


def test_types_travel_with_the_package() -> None:
    data = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "py.typed" in data["cldtrans"]
    assert (PROJECT / "cldtrans" / "py.typed").is_file()


def test_shapes_that_the_package_annotates_are_checked_in_tests() -> None:
    from cldtrans.models.motifs import Codebook, Codes

    with pytest.raises(TypeError, match="valid"):
        Codebook(4, 2)(torch.zeros(3, 2), torch.ones(5, dtype=torch.bool))
    with pytest.raises(TypeError, match="distance"):
        Codes(torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3, dtype=torch.long), torch.zeros(5))
