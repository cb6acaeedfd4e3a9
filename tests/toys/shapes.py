"""Shapes in annotations, held to in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook
from toys.paths import PROJECT


def check_shapes() -> None:
    """In every module of the package that has such annotations, imported from here on."""
    modules = [
        ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for path in (PROJECT / "cldtrans").rglob("*.py")
        if "from jaxtyping import" in path.read_text()
    ]
    install_import_hook(modules, "toys.shapes.checked")


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check what is annotated as an array of some shape, and nothing else.

    Everything else is mypy's, or is refused by the function itself in words that tests read.
    """
    annotations = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in annotations.items() if _has_shape(hint)}
    try:
        return beartype(function)
    finally:
        function.__annotations__ = annotations


def _has_shape(hint: Any) -> bool:
    if isinstance(hint, type):
        return issubclass(hint, AbstractArray)
    return any(map(_has_shape, get_args(hint)))
