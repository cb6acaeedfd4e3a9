"""Reading settings: files are merged, the result is checked, messages say what was probably meant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from cldtrans.config.settings import Config
from cldtrans.errors import ConfigError, suggestion
from cldtrans.files import project_folder, write_json

MOST_VALUES = 100_000  # in one file, aliases written out
MOST_BRACKETS = 100  # open at once


def parse(settings: dict[str, Any], origin: str = "config") -> Config:
    """Check a resolved mapping.

    Parameters
    ----------
    settings : dict
        All settings, as the merged YAML files give them.
    origin : str
        Where they come from; messages begin with it.

    Raises
    ------
    ConfigError
        One line for all problems: the key's path, what is wrong, and what was probably meant.
    """
    try:
        found = Config.model_validate(settings)
        json.dumps(found.model_dump(), allow_nan=False, ensure_ascii=False).encode("utf-8")
    except ValidationError as error:
        raise ConfigError(f"{origin}: " + "; ".join(explain(item) for item in error.errors())) from None
    except (ValueError, TypeError, RecursionError) as error:  # free settings of methods and worlds
        raise ConfigError(f"{origin}: a setting is neither text nor a finite number ({error})") from None
    return found


def explain(item: Any) -> str:
    """Say what is wrong with one value, from an item of `ValidationError.errors()`."""
    path = ".".join(repr(str(part))[1:-1] for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown key {path!r}{suggestion(item['loc'][-1], _fields_at(item['loc'][:-1]))}"
    if item["type"] == "missing":
        return f"missing key {path!r}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


def _fields_at(loc: tuple[Any, ...]) -> list[str]:
    """Field names of the section at a path of keys."""
    model: Any = Config
    for part in loc:  # a section's field, or a mapping's key or list's position: on to what it holds
        model = model.model_fields[part].annotation if _is_section(model) else model.__args__[-1]
    return list(model.model_fields) if _is_section(model) else []


def _is_section(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)


def load(path: str | Path) -> Config:
    """Read the resolved config that the workflow wrote to ``results/<run>/config.json``.

    Raises
    ------
    ConfigError
        Where the file is absent, not JSON, or not a valid config.
    """
    path = Path(path)
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; the workflow writes it before the first job") from None
    except (ValueError, RecursionError) as error:  # other encodings, endless numbers, lists in lists in lists
        raise ConfigError(f"{path}: not JSON ({error}); delete it and run the workflow again") from None
    return parse(settings, origin=str(path))


def load_any(paths: Sequence[str | Path]) -> Config:
    """Read one resolved JSON config, or YAML overlays on the paper's config and its datasets' settings.

    Parameters
    ----------
    paths : sequence of str or Path
        Files, or names of shipped configs (`demo`).

    Raises
    ------
    ConfigError
        Where a file cannot be read or the settings are not valid.
    """
    chosen = [config_file(path) for path in paths]
    if len(chosen) == 1 and chosen[0].suffix == ".json":
        return load(chosen[0])
    folder = project_folder() / "config"
    base = [folder / "config.yaml", *sorted((folder / "datasets").glob("*.yaml"))]
    return resolve([*base, *(path for path in chosen if path.resolve() not in base)])


def config_file(name: str | Path) -> Path:
    """Return the file of that path, or the shipped config of that name (`demo`)."""
    shipped = project_folder() / "config" / f"{name}.yaml"
    return shipped if not Path(name).exists() and shipped.is_file() else Path(name)


def write_resolved(config: Config, path: str | Path) -> str:
    """Write what `load` reads, only when it differs: many processes may read the workflow at once.

    Returns
    -------
    str
        The path, as the workflow hands it on.
    """
    settings = config.model_dump(mode="json")
    try:
        same = json.loads(Path(path).read_text()) == settings
    except (OSError, json.JSONDecodeError):
        same = False
    if not same:
        write_json(path, settings)
    return str(path)


def resolve(paths: Sequence[str | Path]) -> Config:
    """Merge YAML files as the workflow does (mappings merge, all else is replaced) and check the result.

    Raises
    ------
    ConfigError
        Where a file cannot be read or the settings are not valid.
    """
    merged: dict[str, Any] = {}
    for path in map(Path, paths):
        overlay = _read_yaml(path)
        if not isinstance(overlay, dict):
            raise ConfigError(f"{path}: expected a mapping of settings, found {type(overlay).__name__}")
        merged = deep_merge(merged, overlay)
    return parse(merged, origin=", ".join(map(str, paths)))


class _Loader(yaml.SafeLoader):
    """Stops at brackets in brackets in brackets: with each, the scanner looks further ahead for its end."""

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        if self.flow_level >= MOST_BRACKETS:
            raise ConfigError(f"expected at most {MOST_BRACKETS} brackets in one another, found more")
        super().fetch_flow_collection_start(TokenClass)


def _read_yaml(path: Path) -> Any:
    """Read a file of moderate size: aliases of aliases write a billion values in ten lines."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        waiting, found = [] if root is None else [root], 0
        while waiting:
            parts = waiting.pop().value
            for part in parts if isinstance(parts, list) else ():
                waiting += part if isinstance(part, tuple) else (part,)  # a key and its value, or an item
            found += 1
            if found > MOST_VALUES:
                raise ConfigError(f"expected at most {MOST_VALUES} values, found more; write less")
        return None if root is None else loader.construct_document(root)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected text in UTF-8 ({error.reason}); save it so") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except Exception as error:  # an impossible date or a foreign tag provokes any of many
        raise ConfigError(
            f"{path}: not YAML: {error or type(error).__name__}; correct or delete it"
        ) from None


def deep_merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `overlay` on top: mappings merge, everything else is replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged
