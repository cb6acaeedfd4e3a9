"""What the config's methods are, by their cards: writes the tables of docs/baselines.md.

    python benchmarks/baselines_page.py [--results results/paper] [--write]

Networks are counted by building them for the first dataset that the plan asks them for. Published figures
stand beside the means over seeds of the result files of a run, all labels, where there are any.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import torch
from report import DOCS, marked
from torch import nn

from cldtrans.baselines.networks import NetworkClassifier
from cldtrans.config import Config, load_any
from cldtrans.data import chosen_dataset
from cldtrans.errors import ConfigError
from cldtrans.methods import classifiers
from cldtrans.methods.cards import Card
from cldtrans.methods.factories import card_of, find

ROOT = DOCS.parent
PAGE = DOCS / "baselines.md"
DATASETS = ("chbmit", "sleepedf", "ptbxl")
METRICS = {  # what cards call them, and result files
    "AUROC": "auroc",
    "AUPRC": "auprc",
    "balanced accuracy": "balanced_accuracy",
    "macro AUROC": "macro_auroc",
    "macro F1": "macro_f1",
    "kappa": "kappa",
}


@dataclass
class Entry:
    """What the config says of one card.

    Attributes
    ----------
    card : Card
        The method's.
    names : list of str
        Methods of the config that stand for it.
    roles : set of str
        What is asked of them.
    network : (str, dict) or None
        Factory and settings of the one that is a network.
    """

    card: Card
    names: list[str] = field(default_factory=list)
    roles: set[str] = field(default_factory=set)
    network: tuple[str, dict[str, Any]] | None = None


def registry(config: Config) -> tuple[list[Entry], list[str]]:
    """Return the config's methods by card, and the names of those without one."""
    entries: dict[str, Entry] = {}
    without = []
    for name, method in config.methods.items():
        for role in ("classifier", "readout", "estimator"):
            spec = getattr(method, role)
            if spec is None:
                continue
            factory = find(spec)
            card = card_of(factory, method.settings)
            if card is None:
                without.append(name)
                continue
            entry = entries.setdefault(card.title, Entry(card))
            entry.names += [name] if name not in entry.names else []
            entry.roles.add(role)
            if inspect.isclass(factory) and issubclass(factory, NetworkClassifier):
                entry.network = spec, method.settings
    return list(entries.values()), list(dict.fromkeys(without))


def counted(config: Config, entry: Entry) -> tuple[int, str] | None:
    """Return the parameters of a network, and the dataset for which it was built; None: it reads none.

    That is the first that the plan asks it for, or of `DATASETS` where the plan does not.
    """
    if entry.network is None:
        return None
    blocks = [block for block in config.experiments if set(block.methods) & set(entry.names)]
    planned = [name for block in blocks for name in block.datasets if block.experiment == "fewshot"]
    for dataset in [*planned, *DATASETS]:
        try:
            network = built(config, dataset, *entry.network)
        except ConfigError:
            continue
        return sum(p.numel() for p in network.parameters()), dataset
    return None


def built(config: Config, dataset: str, spec: str, settings: dict[str, Any]) -> nn.Module:
    """Return a network as it would be for a dataset's windows, where it can be without its numbers.

    Raises
    ------
    ConfigError
        Where it does not read such windows.
    """
    shape, kind = config.preprocess[dataset], chosen_dataset(dataset, config.dataset_classes)
    about = {
        "task": kind.task,
        "channels": tuple(kind.channels),
        "sample_rate": shape.rate_hz,
        "modality": kind.modality,
        "seed": 0,
        "threads": 1,
    }
    classifier = classifiers.make(spec, about, settings)
    assert isinstance(classifier, NetworkClassifier)
    n_samples = round(shape.window_s * shape.rate_hz)
    try:
        with torch.device("meta"):
            return classifier.make(n_samples)
    except RuntimeError:  # one that needs numbers to learn its own sizes
        return classifier.make(n_samples)


def methods(config: Config, entries: list[Entry]) -> pd.DataFrame:
    """Make a row a method: whose it is, under which licence, and how large."""
    rows = []
    for entry in entries:
        size = counted(config, entry)
        rows.append(
            {
                "method": entry.card.title,
                "in the config": ", ".join(f"`{name}`" for name in entry.names),
                "as": ", ".join(sorted(entry.roles)),
                "source": entry.card.source,
                "licence of the code": entry.card.licence,
                "parameters here": "" if size is None else f"{_short(size[0])} ({size[1]})",
                "of the original": _short(entry.card.parameters),
            }
        )
    return pd.DataFrame(rows)


def details(entries: list[Entry]) -> Iterator[str]:
    """Say of each method what was reproduced, what differs, and what its weights saw."""
    for entry in entries:
        card = entry.card
        said = {
            "Reproduced": card.reproduced,
            "Differs": card.differs,
            "Parameters": card.counted,
            "Verified": card.verified and f"{card.verified}; no published weights were loaded",
            "What its published weights saw": card.seen,
        }
        yield f"- **{card.title}.** " + " ".join(f"*{what}*: {text}." for what, text in said.items() if text)


def published(entries: list[Entry], results: Path | None) -> pd.DataFrame:
    """Make a row a published figure, ours in the last column."""
    return pd.DataFrame(
        {
            "method": entry.card.title,
            "data": dataset,
            "metric": metric,
            "published": value,
            "where": where,
            "ours": "–" if results is None else ours(results, dataset, entry.names, metric),
        }
        for entry in entries
        for dataset, metric, value, where in entry.card.published
    )


def ours(results: Path, dataset: str, names: list[str], metric: str) -> str:
    """Return the mean over seeds of a run's result files with all labels, and how the weights began."""
    found, starts = [], set()
    for name in names:
        for path in sorted((results / "fewshot" / dataset / name / "budget-1.0").glob("seed-*.json")):
            record = json.loads(path.read_text())
            value = record["metrics"].get(METRICS.get(metric, metric))
            if value is not None:
                found.append(value)
                starts.add(record["extra"]["start"])
    return f"{fmean(found):.3f} ({len(found)} seeds, {', '.join(sorted(starts))})" if found else "–"


def _short(count: float | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e6:.4g} M" if count >= 1e5 else f"{count / 1e3:.3g} k"


def written(page: str, results: Path | None = None) -> str:
    """Return the page with its tables made anew."""
    config = load_any([ROOT / "config" / "config.yaml"])
    entries, without = registry(config)
    tables = {
        "methods": _markdown(methods(config, entries)),
        "details": "\n".join(details(entries)),
        "published": _markdown(published(entries, results)),
        "own": ", ".join(f"`{name}`" for name in without) + ".",
    }
    for name, text in tables.items():
        page = marked(page, name, text)
    return page


def _markdown(table: pd.DataFrame) -> str:
    return str(table.to_markdown(index=False, tablefmt="github", disable_numparse=True))


def main() -> None:
    """Print the page or write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, help="folder of a finished run, e.g. results/paper")
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name}")
    args = parser.parse_args()
    text = written(PAGE.read_text(), args.results)
    if args.write:
        PAGE.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
