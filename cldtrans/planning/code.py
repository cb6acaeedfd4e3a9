"""Which code a job executes: the import closure of its command, and a hash of it.

A rule has this hash among its parameters, so a job runs again when code that it executes has changed, and not
for a comment, a docstring, or a module that it never imports. The closure is read from the syntax trees:
imports at the top and inside functions, names that a package loads on first use, and what is looked up by
name (the command, the dataset, a method's ``module:factory``). A user's own package is followed like ours;
installed packages are not, their versions stand in every result.

Imports for type checkers alone, docstrings, and texts for the reader (``help=``, ``description=``) are left
out of the hash. So are the entries of registries: a job depends on the entry that it looks up, not on its
neighbours, and a new dataset reruns nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cldtrans.config import DatasetClassConfig
from cldtrans.errors import ConfigError, suggestion

PACKAGE = Path(__file__).resolve().parents[1]
# Mappings from names to modules; what they name is followed where it is looked up.
REGISTRIES = {
    "cldtrans.cli": "COMMANDS",
    "cldtrans.data": "DATASETS",
    "cldtrans.data.intracranial": "READERS",
    "cldtrans.data.known_lags.sets": "READERS",
}
LAZY = "_HOME"  # of a package: name -> module below it, loaded on first use
TEXTS = {"help", "description"}
FOR_PEOPLE = {"cldtrans.lag.views.pictures"}
"""Loaded where a person asks a result for its picture: no job does, so a picture's look reruns nothing."""
LIBRARIES = {"sklearn"}
"""Whose classes are methods as they are: their version stands in every result."""
INSTALLED = {"site-packages", "dist-packages"}  # folders of packages that are neither ours nor the user's


class Source:
    """One module, as it executes.

    Parameters
    ----------
    name : str
        Of the module.
    path : Path
        Its file.

    Attributes
    ----------
    imports : list of (str, str or None)
        (module, name) of the imports that loading it executes; name None for `import module`.
    later_imports : list of (str, str or None)
        The same, of those inside functions.
    registries : dict of dicts
        Mappings from names to modules, by the mapping's own name.
    digest : str
        sha256 of the syntax tree without what does not execute.

    Raises
    ------
    ConfigError
        Where the file is not Python.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.imports: list[tuple[str, str | None]] = []
        self.later_imports: list[tuple[str, str | None]] = []
        self.registries: dict[str, dict[str, str]] = {}
        try:
            tree = ast.parse(path.read_bytes(), str(path))
        except (OSError, SyntaxError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read as Python ({error})") from None
        known = {REGISTRIES.get(name, LAZY), LAZY}
        words: list[str] = []
        for statement in tree.body:
            assigned = _assigned(statement)
            if assigned in known and isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value:
                self.registries[assigned] = ast.literal_eval(statement.value)
            else:
                self._read(statement, words, self.imports)
        self.digest = hashlib.sha256("\0".join(words).encode()).hexdigest()

    def _read(self, node: ast.AST, words: list[str], imports: list[tuple[str, str | None]]) -> None:
        """Note imports below a node, and write down what executes: in one pass, every start waits for it."""
        if isinstance(node, ast.stmt) and _idle(node):
            return
        if isinstance(node, ast.Import):
            imports += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports += [(self._absolute(node), alias.name) for alias in node.names]
        elif isinstance(node, ast.keyword) and node.arg in TEXTS:
            return
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            imports = self.later_imports
        words.append(node.__class__.__name__)
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, ast.AST):
                words.append(field)
                self._read(value, words, imports)
            elif isinstance(value, list):
                words.append("[")
                for one in value:
                    if isinstance(one, ast.AST):
                        self._read(one, words, imports)
                    else:
                        words.append(repr(one))
                words.append("]")
            elif value is not None:
                words.append(f"{field}={value!r}")

    def _absolute(self, node: ast.ImportFrom) -> str:
        """Return the module that `from ... import` names."""
        base = [node.module] if node.module else []
        if not node.level:
            return ".".join(base)
        parts = self.name.split(".")
        keep = len(parts) - node.level + (self.path.name == "__init__.py")
        return ".".join([*parts[:keep], *base])


@dataclass(frozen=True)
class Roots:
    """Where a job's code begins: modules that it executes, and modules of which it only asks facts.

    Of the latter no import inside a function is followed: a job that wants to know a dataset's files or folds
    does not read its recordings.
    """

    executed: tuple[str, ...]
    asked: tuple[str, ...] = ()


class Code:
    """The code of this package and of the user's.

    Parameters
    ----------
    folders : iterable of Path
        Where first-party modules lie beside this package: those of scripts.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        self.folders = list(map(Path, folders))
        self._sources: dict[str, Source | None] = {}
        self._followed: set[str] = set()  # top-level packages that are followed even if installed
        self._direct: dict[tuple[str, bool], tuple[str, ...]] = {}

    def command(self, name: str) -> list[str]:
        """Return the roots of ``python -m cldtrans <name>``."""
        return ["cldtrans.__main__", f"cldtrans.commands.{name.replace('-', '_')}"]

    def factory(self, spec: str) -> list[str]:
        """Return the roots of a ``module:factory``, wherever it is installed.

        Raises
        ------
        ConfigError
            Where it is not found.
        """
        module = spec.partition(":")[0]
        if module.partition(".")[0] in LIBRARIES:
            return []
        self._followed.add(module.partition(".")[0])
        if self.source(module) is None:
            raise ConfigError(f"{spec!r}: no module {module!r}; install it or correct the name")
        return [module]

    def is_module(self, name: str) -> bool:
        """Tell whether a text is the full name of a first-party module."""
        return "." in name and name.replace(".", "_").isidentifier() and self.source(name) is not None

    def dataset(self, name: str, own: Mapping[str, DatasetClassConfig] | None = None) -> list[str]:
        """Return the roots of a registered dataset, or of one of the user's own."""
        if own and name in own:
            return self.factory(own[name].factory)
        return self._registered("cldtrans.data", name)

    def reader(self, name: str) -> list[str]:
        """Return the roots of the reader of a set of intracranial recordings.

        Raises
        ------
        ConfigError
            Where there is none.
        """
        return self._registered("cldtrans.data.intracranial", name.partition("-")[0])

    def known_set(self, name: str) -> list[str]:
        """Return the roots of the reader of a set of known lags."""
        return self._registered("cldtrans.data.known_lags.sets", name)

    def _registered(self, module: str, name: str) -> list[str]:
        registry = self.source(module)
        assert registry is not None
        known = registry.registries[REGISTRIES[module]]
        if name not in known:
            raise ConfigError(f"{module}: nothing is called {name!r}{suggestion(name, known)}")
        return self.factory(known[name])

    def closure(self, roots: Roots) -> set[str]:
        """Return the names of all first-party modules that the roots may import, themselves included."""
        found = self._reached(roots.executed, set(), later=True)
        return self._reached(roots.asked, found, later=False)

    def digest(self, roots: Roots) -> str:
        """Hash the closure's modules by sha256: names and trees."""
        total = hashlib.sha256()
        for name in sorted(self.closure(roots)):
            source = self.source(name)
            assert source is not None
            total.update(f"{name} {source.digest}\n".encode())
        return total.hexdigest()

    def source(self, name: str) -> Source | None:
        """Return the module of that name; None for one that is neither ours nor the user's."""
        if name not in self._sources:
            path = self._locate(name)
            self._sources[name] = None if path is None else Source(name, path)
        return self._sources[name]

    def _reached(self, roots: Iterable[str], found: set[str], later: bool) -> set[str]:
        """Return `found` and what the roots import beyond it; `later`: inside functions, too."""
        found = set(found)
        waiting = [name for root in roots for name in _with_parents(root)]
        while waiting:
            name = waiting.pop()
            if name not in found and name not in FOR_PEOPLE and self.source(name) is not None:
                found.add(name)
                waiting += self._imported_by(name, later)
        return found

    def _imported_by(self, name: str, later: bool) -> tuple[str, ...]:
        if (name, later) not in self._direct:
            source = self.source(name)
            assert source is not None
            pairs = [*source.imports, *(source.later_imports if later else ())]
            found = {target for pair in pairs for target in self._targets(*pair)}
            self._direct[name, later] = tuple(sorted(found))
        return self._direct[name, later]

    def _targets(self, module: str, name: str | None) -> list[str]:
        """Return the modules that one import loads."""
        targets = _with_parents(module)
        if name is None or self.source(module) is None:
            return targets
        if self.source(f"{module}.{name}") is not None:
            return [*targets, f"{module}.{name}"]
        package = self.source(module)
        assert package is not None
        home = package.registries.get(LAZY, {}).get(name)
        return targets if home is None else [*targets, *self._targets(f"{module}.{home}", name)]

    def _locate(self, name: str) -> Path | None:
        top, *rest = name.split(".")
        if top in sys.stdlib_module_names:
            return None
        if name == PACKAGE.name:
            return _file(PACKAGE)
        if rest:
            parent = self.source(name.rpartition(".")[0])
            if parent is None or parent.path.name != "__init__.py":
                return None
            return _file(parent.path.parent / rest[-1])
        for folder in self.folders:
            path = _file(folder / top)
            if path is not None:
                return path
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        path = Path(spec.origin).resolve()
        return None if INSTALLED & set(path.parts) and top not in self._followed else path


def _file(stem: Path) -> Path | None:
    """Return the file of a module or package."""
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: k + 1]) for k in range(len(parts))]


def _idle(statement: ast.stmt) -> bool:
    """Tell whether a statement does nothing when it runs: a bare string, or imports for type checkers."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
    return (
        isinstance(statement, ast.If)
        and isinstance(statement.test, ast.Name)
        and statement.test.id == "TYPE_CHECKING"
    )


def _assigned(statement: ast.stmt) -> str | None:
    """Return the name that a top-level statement gives a value."""
    target = None
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    return target.id if isinstance(target, ast.Name) else None
