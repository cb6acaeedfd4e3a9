"""Hashes of the code that jobs execute: what changes them, what does not, and what they may not miss."""

import ast
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.paths import PROJECT

from cldtrans.data import DATASETS
from cldtrans.errors import ConfigError
from cldtrans.planning.code import LAZY, REGISTRIES, Code, Roots, Source

MODULE = """
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy

LIMIT = 3


def area(radius):
    return math.pi * radius**2
"""


def digest(text: str, folder: Path) -> str:
    path = folder / "module.py"
    path.write_text(text)
    return Source("module", path).digest


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: "# what it is\n" + text.replace("LIMIT = 3", "LIMIT = 3  # of tries"),
        lambda text: '"""What it is."""\n' + text,
        lambda text: text.replace("LIMIT = 3", 'LIMIT = 3\n"""Of tries."""'),
        lambda text: text.replace("    return", '    """Of a circle."""\n\n    return'),
        lambda text: text.replace("import numpy", "import torch"),
        lambda text: text.replace("math.pi * radius**2", "(\n        math.pi * (radius ** 2)\n    )"),
    ],
    ids=["comment", "docstring", "attribute docstring", "function docstring", "type checkers", "layout"],
)
def test_what_does_not_execute_is_not_hashed(edit, tmp_path: Path) -> None:
    assert digest(edit(MODULE), tmp_path) == digest(MODULE, tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("LIMIT = 3", "LIMIT = 4"),
        lambda text: text.replace("radius**2", "radius**3"),
        lambda text: text.replace("(radius)", "(radius=1)"),
        lambda text: text.replace("import math\n", "import math as math\nimport os\n"),
        lambda text: text + "\n\narea = None\n",
        lambda text: text.replace("    return", '    print("Of a circle.")\n    return'),
    ],
)
def test_what_executes_is_hashed(edit, tmp_path: Path) -> None:
    assert edit(MODULE) != MODULE
    assert digest(edit(MODULE), tmp_path) != digest(MODULE, tmp_path)


def test_texts_for_the_reader_are_not_hashed(tmp_path: Path) -> None:
    text = 'parser.add_argument("--seed", type=int, help="{}")\nx: int = Field(gt=0, description="{}")\n'
    assert digest(text.format("a", "b"), tmp_path) == digest(text.format("c", "d"), tmp_path)
    assert digest(text.replace("gt=0", "gt=1"), tmp_path) != digest(text, tmp_path)


names = st.sampled_from("abc")
expressions = st.recursive(
    names,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*@"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"{t[0]}[{t[1]}:]"),
        st.tuples(inner, inner).map(lambda t: f"{t[0]}[:{t[1]}]"),
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        st.tuples(names, inner).map(lambda t: f"f({t[0]}, k={t[1]})"),
    ),
    max_leaves=6,
)


@given(expressions, expressions)
def test_two_texts_have_one_hash_where_they_are_one_tree(tmp_path_factory, one: str, two: str) -> None:
    folder = tmp_path_factory.mktemp("pair")
    same = ast.dump(ast.parse(one)) == ast.dump(ast.parse(two))
    assert (digest(f"x = {one}\n", folder) == digest(f"x = {two}\n", folder)) == same


def package(folder: Path, files: dict[str, str]) -> Code:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return Code([folder])


def test_imports_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    code = package(
        tmp_path,
        {
            "mine/__init__.py": "",
            "mine/method.py": """
                import json
                import numpy
                from . import near
                from .deep.inner import thing

                def factory():
                    from mine import lazy
                    import beside
            """,
            "mine/near.py": "from .deep import other",
            "mine/lazy.py": "",
            "mine/unused.py": "",
            "mine/deep/__init__.py": f"{LAZY} = {{'other': 'home', 'stranger': 'away'}}",
            "mine/deep/inner.py": "thing = 1",
            "mine/deep/home.py": "",
            "mine/deep/away.py": "",
            "beside.py": "",
        },
    )
    expected = {"mine", "mine.method", "mine.near", "mine.lazy", "mine.deep", "mine.deep.inner"}
    assert code.closure(Roots(tuple(code.factory("mine.method:factory")))) == expected | {
        "mine.deep.home",
        "beside",
    }


def test_a_circle_of_imports_ends(tmp_path: Path) -> None:
    code = package(tmp_path, {"one.py": "import two", "two.py": "import one"})
    assert code.closure(Roots(("one",))) == {"one", "two"}


def test_a_factory_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'absent_package.model:Net': no module 'absent_package.model'"):
        Code().factory("absent_package.model:Net")
    with pytest.raises(ConfigError, match=r"broken\.py: cannot be read as Python"):
        package(tmp_path, {"broken.py": "def"}).digest(Roots(("broken",)))


def test_an_installed_package_is_followed_where_a_method_names_it_and_only_there() -> None:
    assert Code().closure(Roots(("tqdm",))) == set()
    code = Code()
    assert "tqdm.std" in code.closure(Roots(tuple(code.factory("tqdm.auto:tqdm"))))


def test_neighbours_in_a_registry_change_nothing(tmp_path: Path) -> None:
    """A new dataset or command is a line in a registry that all jobs import."""
    for module, registry in REGISTRIES.items():
        original = Code().source(module)
        assert original is not None
        text = original.path.read_text()
        marker = next(line for line in text.splitlines() if line.startswith(f"{registry} = {{"))
        path = tmp_path / "changed.py"
        path.write_text(text.replace(marker, f'{marker}\n    "new": "cldtrans.new:New",'))
        changed = Source(module, path)
        assert changed.digest == original.digest
        assert "new" in changed.registries[registry] and "new" not in original.registries[registry]


@pytest.mark.parametrize("name", REGISTRIES.values())
def test_a_mapping_that_is_called_like_a_registry_is_code(name: str, tmp_path: Path) -> None:
    assert digest(f"{name} = {{'a': 'b'}}\n", tmp_path) != digest(f"{name} = {{'a': 'c'}}\n", tmp_path)


def test_a_dataset_depends_on_its_own_reader() -> None:
    code = Code()
    ecg, eeg = (code.closure(Roots(tuple(code.dataset(name)))) for name in ("ptbxl", "chbmit"))
    assert "cldtrans.data.formats.wfdb_reader" in ecg - eeg
    assert "cldtrans.data.formats.edf" in eeg - ecg


def test_who_asks_a_dataset_for_facts_does_not_depend_on_its_reader() -> None:
    code = Code()
    for name in ("ptbxl", "chbmit", "sleepedf"):
        closure = code.closure(Roots((), tuple(code.dataset(name))))
        assert f"cldtrans.data.{name}" in closure
        assert not {one for one in closure if one.startswith("cldtrans.data.formats")}


@pytest.mark.parametrize("name", DATASETS)
def test_facts_of_a_dataset_import_nothing_later(name: str) -> None:
    """Splits and file names are asked of a dataset without its readers: they may import no further module."""
    asked = {"split", "wanted", "subject_of", "record_of", "folder"}
    source = Code().source(DATASETS[name].partition(":")[0])
    assert source is not None
    for node in ast.walk(ast.parse(source.path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name in asked:
            assert not [one for one in ast.walk(node) if isinstance(one, (ast.Import, ast.ImportFrom))], (
                node.name
            )


def test_modules_are_imported_by_name_only_where_the_hash_knows_it() -> None:
    """A new `import_module` must be taught to `cldtrans.planning.code` before it is used."""
    known = {
        "cldtrans/cli.py": 1,  # a command, by COMMANDS
        "cldtrans/data/__init__.py": 1,  # a dataset, by DATASETS
        "cldtrans/data/intracranial.py": 1,  # a reader of intracranial recordings, by READERS
        "cldtrans/data/known_lags/sets.py": 1,  # a reader of recordings with known lags, by READERS
        "cldtrans/methods/factories.py": 1,  # a method's module:factory
        "cldtrans/__init__.py": 1,  # names loaded on first use
        "cldtrans/lag/__init__.py": 1,
    }
    found = {}
    for path in sorted((PROJECT / "cldtrans").rglob("*.py")):
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__", "exec", "eval"}
            and ast.unparse(node.func) not in {"model.eval", "self.model.eval"}
        ]
        calls = [node for node in calls if node.args]
        if calls:
            found[path.relative_to(PROJECT).as_posix()] = len(calls)
    assert found == known
