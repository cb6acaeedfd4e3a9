"""Pages of the site that are made from something else, so that nothing is written down twice.

A MkDocs hook: the README and its neighbours become pages, settings come from the models that check them,
commands from their parsers, formulas become MathML; and a built page that would ask another host for anything
is an error.
"""

from __future__ import annotations

import argparse
import html
import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from cldtrans import config as settings
from cldtrans.cli import COMMANDS

PROJECT = Path(__file__).resolve().parent.parent
NEIGHBOURS = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
LONGEST_VALUE = 80
# What an example draws, or what the same call draws of a real recording.
FIGURES = {
    "lags_of_a_recording": ("real_lags.png", "The same of a seizure and an ECG, and delays that are known"),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files of this folder."""
    pages = {page: _neighbour(name) for page, name in NEIGHBOURS.items()}
    for page, text in {**pages, **_made()}.items():
        files.append(File.generated(config, page, content=text))
    return files


def _made() -> dict[str, str]:
    """Return the pages that are made from code."""
    return {"settings.md": _settings_page(), "commands.md": _commands_page(), "gallery.md": _gallery_page()}


def _gallery_page() -> str:
    """Show every example: what it does, its figure where there is one, its source."""
    parts = [
        "# Gallery\n",
        "Short programs that run as they stand, in an empty folder; the project's tests run them. "
        "The signals are simulated.\n",
    ]
    for path in sorted((PROJECT / "examples").glob("*.py")):
        text = path.read_text()
        about, _, source = text.removeprefix('"""').partition('"""')
        title, _, rest = about.strip().partition("\n\n")
        usage = "\n\n".join(re.sub(r"^    (.+)", r"`\1`", line) for line in rest.strip().split("\n\n"))
        picture = FIGURES.get(path.stem)
        parts += [f"## {title.rstrip('.')}\n", f"{usage}\n"]
        parts += [f"![{picture[1]}]({picture[0]})\n", f"*{picture[1]}.*\n"] if picture else []
        parts.append(f"```python\n{source.strip()}\n```\n")
    return "\n".join(parts)


def on_page_content(content: str, **_: Any) -> str:
    """Write formulas as MathML, which browsers draw by themselves.

    A number stays on the line of its interval.
    """
    formula = r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>'
    content = re.sub(
        formula, lambda found: _mathml(found[1], html.unescape(found[2])), content, flags=re.DOTALL
    )
    return re.sub(r"(\d) \[(-?[\d.]+), (-?[\d.]+)\]", r"\1&nbsp;[\2,&nbsp;\3]", content)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that cannot be read without a network."""
    asks = re.compile(
        r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//|url\([\"']?https?:"
    )
    for path in Path(config.site_dir).rglob("*"):
        if path.suffix in (".html", ".css") and (found := asks.search(path.read_text())):
            raise PluginError(f"{path} asks another host for something: {found[0]}")


def _neighbour(name: str) -> str:
    """Return a file at the project's root, with its links as they are from this folder."""
    text = (PROJECT / name).read_text()
    for page, neighbour in NEIGHBOURS.items():
        text = text.replace(f"]({neighbour}", f"]({page}")
    return text.replace("](docs/", "](")


def _mathml(tag: str, formula: str) -> str:
    """Turn LaTeX into MathML.

    Tall braces and overlines are put right, which the converter leaves to chance.
    """
    drawn = convert(formula.strip(), display="block" if tag == "div" else "inline")
    drawn = re.sub(r">\\([{}])<", r">\1<", drawn)
    overline = r'<mover>((?:(?!<mover>).)*)<mo accent="true">&#x02015;</mo></mover>'
    return re.sub(overline, r'<mrow class="overline">\1</mrow>', drawn)


def _settings_page() -> str:
    schema = settings.Config.model_json_schema()
    paper = settings.load_any([PROJECT / "config" / "config.yaml"]).model_dump(mode="json")
    sections = schema["$defs"]
    page = [
        "# Settings",
        "Every setting of `config/*.yaml`, as `cldtrans/config/` checks it: unknown keys and values of "
        "another type are errors that name what was probably meant. An overlay holds only what differs from "
        "`config/config.yaml`, whose values stand in the last column; mappings merge, lists are replaced.",
        _table(schema["properties"], paper),
    ]
    for name, field in schema["properties"].items():
        section, place, values = _section(field), name, paper.get(name, {})
        if section is None:
            continue
        if "$ref" not in field:  # a mapping or a list of sections: the first one's values
            place += "[]" if isinstance(values, list) else ".<name>"
            values = values[0] if isinstance(values, list) else next(iter(values.values()), {})
        page += [
            f"## `{place}`",
            sections[section]["description"],
            _table(sections[section]["properties"], values),
        ]
    return "\n\n".join(page)


def _section(field: dict[str, Any]) -> str | None:
    """Return the name of the model of a field that is a section, or holds sections."""
    for holder in (field, field.get("items"), field.get("additionalProperties")):
        if isinstance(holder, dict) and "$ref" in holder:
            return holder["$ref"].rpartition("/")[2]
    return None


def _table(fields: dict[str, Any], values: dict[str, Any]) -> str:
    rows = ["| setting | type | meaning | in the paper |", "|---|---|---|---|"]
    for name, field in fields.items():
        link = name if "$ref" in field else f"{name}" + ("[]" if "items" in field else ".<name>")
        kind = f"[section](#{re.sub('[^a-z0-9-]', '', link)})" if _section(field) else _type(field)
        given = values.get(name, "")  # what the paper does without has no value
        text = given if isinstance(given, str) else json.dumps(given)
        value = f"`{text}`" if 0 < len(text) <= LONGEST_VALUE and not _section(field) else ""
        cells = (f"`{name}`", kind, field["description"], value)
        rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(rows)


def _type(field: dict[str, Any]) -> str:
    """Say a field's JSON schema in words."""
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"])
    if "prefixItems" in field:
        return f"[{', '.join(_type(item) for item in field['prefixItems'])}]"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    words = {"boolean": "`true`, `false`", "null": "`null`", "object": "mapping", "string": "text"}
    kind = words.get(field["type"], field["type"])
    signs = {"exclusiveMinimum": "> ", "minimum": "≥ ", "exclusiveMaximum": "< ", "maximum": "≤ "}
    bounds = [f"{sign}{field[key]}" for key, sign in signs.items() if key in field]
    return " ".join([kind, ", ".join(bounds)]).strip()


def _commands_page() -> str:
    os.environ["COLUMNS"] = "90"  # argparse wraps at the terminal's width
    parts = [
        "# Commands\n",
        "`cldtrans <command>`; what follows is each command's `--help`. People call the first few, rules of",
        "the workflow the others. Bad input ends with one line on standard error and exit code 2.",
    ]
    for name, summary in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"cldtrans {name}")
        importlib.import_module(f"cldtrans.commands.{name.replace('-', '_')}").add_args(parser)
        parts.append(
            f"\n## {name}\n\n{summary[0].upper()}{summary[1:]}.\n\n```text\n{parser.format_help()}```"
        )
    return "\n".join(parts)
