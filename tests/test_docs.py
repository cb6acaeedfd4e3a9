"""What the documentation says about the tree is true of the tree, and the site's own making is tested."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from toys.paths import PROJECT

PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
FOLDERS = "benchmarks|cldtrans|config|docs|envs|examples|profiles|rules|tests|workflow"


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", page.read_text()))
    assert [path for path in sorted(named) if not (PROJECT / path).exists()] == []


def test_the_floors_are_those_that_imports_are_held_to() -> None:
    rules = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(rule["layers"] for rule in rules if rule["type"] == "layers")
    page = (PROJECT / "docs" / "architecture.md").read_text()
    table = page.split("| floor |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    assert [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table] == [
        re.split(r" [|:] ", layer) for layer in layers
    ]


def test_messages_that_the_faq_explains_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| .*?`(.+?)`.*? \|", (PROJECT / "docs" / "faq.md").read_text(), re.MULTILINE)
    assert len(rows) > 8
    folders = ("cldtrans", "workflow")
    code = "\n".join(path.read_text() for name in folders for path in (PROJECT / name).rglob("*.py"))
    for message in rows:
        fixed = max(re.split(r"<\w+>|\d+|\bN\b|[(){}';]", message), key=len).strip()
        assert fixed in code, message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>'),
        ("a.html", '<link rel=stylesheet href="//fonts.example/css">'),
        ("a.css", "@font-face { src: url(https://fonts.example/f.woff) }"),
    ],
)
def test_a_site_that_asks_another_host_is_refused(name: str, content: str, tmp_path: Path) -> None:
    pages = load(PROJECT / "docs" / "pages.py")
    (tmp_path / name).write_text(content)
    with pytest.raises(Exception, match="asks another host"):
        pages.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))


def test_a_site_that_links_to_another_host_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="https://example.org">there</a><img src="own.png">')
    load(PROJECT / "docs" / "pages.py").on_post_build(SimpleNamespace(site_dir=str(tmp_path)))
