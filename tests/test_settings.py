"""Settings are documented where they are defined, and each of them is read by something."""

import ast
import re

import pytest
from toys.paths import PROJECT

from cldtrans.config import settings

SECTIONS = [
    model
    for model in vars(settings).values()
    if isinstance(model, type) and issubclass(model, settings.Section) and model is not settings.Section
]
FIELDS = [(model, name) for model in SECTIONS for name in model.model_fields]


def attributes_of_module(source: str) -> set[str]:
    """Attributes that a Python module reads, if it knows the settings at all.

    Where it looks names up, `getattr(method, role)`, the strings of its own constants may be such names.
    """
    if not re.search(r"from cldtrans(\.config import| import config)", source):
        return set()
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    if any(map(_looks_up, nodes)):
        constants = [line for line in tree.body if isinstance(line, ast.Assign | ast.AnnAssign)]
        parts = [part for line in constants for part in ast.walk(line)]
        read |= {str(part.value) for part in parts if isinstance(part, ast.Constant)}
    return read


def _looks_up(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr"):
        return False
    return not isinstance(node.args[1], ast.Constant)


def attributes_of_rules(source: str) -> set[str]:
    """The same of Snakemake's files, which are not quite Python."""
    return set(re.findall(r"\b\w+\.([a-z0-9_]+)\b", re.sub(r"#.*", "", source)))


@pytest.fixture(scope="module")
def read() -> set[str]:
    """Every name that may be a setting read, outside of the settings' own definition and validators."""
    modules = {*PROJECT.glob("cldtrans/**/*.py"), *PROJECT.glob("workflow/**/*.py")}
    modules -= {*PROJECT.glob("cldtrans/config/*.py")}
    rules = [PROJECT / "Snakefile", *PROJECT.glob("rules/*.smk")]
    return set().union(
        *(attributes_of_module(path.read_text()) for path in modules),
        *(attributes_of_rules(path.read_text()) for path in rules),
    )


@pytest.mark.parametrize(("model", "name"), FIELDS, ids=[f"{m.__name__}.{n}" for m, n in FIELDS])
def test_a_setting_says_what_it_means_and_is_read(
    model: type[settings.Section], name: str, read: set[str]
) -> None:
    description = model.model_fields[name].description
    assert description and description.endswith("."), f"{model.__name__}.{name} has no description"
    assert name in read, f"nothing reads {model.__name__}.{name}: a setting without effect"


def test_a_name_in_a_comment_or_a_string_is_not_a_reader() -> None:
    module = (
        'from cldtrans.config import Config\nx = config.width  # config.depth\nconfig.height = "colour"\n'
    )
    assert attributes_of_module(module) == {"width"}
    assert attributes_of_module("x.width") == set()
    assert attributes_of_rules("a=SETTINGS.run,  # b.c") == {"run"}


def test_a_setting_may_be_read_by_a_name_that_is_looked_up() -> None:
    module = 'from cldtrans.config import Config\nROLES = ("readout",)\ngetattr(config, ROLES[0])\n'
    assert "readout" in attributes_of_module(module)
    assert "readout" not in attributes_of_module(module.replace("ROLES[0]", '"width"'))
