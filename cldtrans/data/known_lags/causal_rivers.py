"""CausalRivers: discharge of hundreds of stations, as small subgraphs with who drives whom.

Source: Stein et al. 2025, ICLR, arXiv 2503.17452; data of eight German authorities, dl-de/by-2-0. The
release's `product/rivers_ts_east_germany.csv` (a column a station, a row every 15 minutes) and the subgraphs
that its `0_generate_datasets.py` writes, `datasets/<kind>/east.p`: pickled lists of networkx graphs. Nothing
but graphs is unpickled: an empty class stands for theirs, and any other name is refused.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cldtrans.data.known_lags.sets import KnownReader, KnownSystem, Truth
from cldtrans.errors import DataError

SERIES = "product/rivers_ts_east_germany.csv"
GRAPHS = "datasets/random_5/east.p"
STEP_H = 6
TAU_MAX_H = 48.0
MOST = 200
"""Subgraphs, evenly among all."""
PUBLISHED = {
    "RP": 0.753, "RP+N": 0.642, "RP+B": 0.684, "cross-correlation": 0.706, "VAR": 0.80, "VARLiNGAM": 0.75,
    "DYNOTEARS": 0.61, "PCMCI": 0.65,
}  # fmt: skip
"""Mean AUROC of the subgraphs `random_5`, each method with its best settings: `exp1.ipynb` of the repository
CausalRivers/experiments, commit 7f00963, to the digits printed there."""


class CausalRivers(KnownReader):
    """Subgraphs of five stations of eastern Germany."""

    title = "CausalRivers"
    truth: ClassVar[Truth] = "propagation"
    folder = ""
    files = (SERIES, GRAPHS)
    notes = (f"published AUROC: {', '.join(f'{name} {value:g}' for name, value in PUBLISHED.items())}",)

    def systems(self, folder: Path) -> list[KnownSystem]:
        """Read the subgraphs."""
        import pandas as pd

        graphs = read_graphs(folder / GRAPHS)
        graphs = [graphs[k] for k in np.unique(np.linspace(0, len(graphs) - 1, MOST).round().astype(int))]
        wanted = sorted({node for nodes, _ in graphs for node in nodes})
        try:
            table = pd.read_csv(folder / SERIES, index_col=0, usecols=["datetime", *wanted], parse_dates=True)
        except ValueError as error:
            raise DataError(f"{folder / SERIES}: {' '.join(str(error).split())}") from None
        table = table.resample(f"{STEP_H}h").mean().interpolate(limit_direction="both")
        systems = []
        for number, (nodes, drives) in enumerate(graphs):
            discharge = table[nodes].to_numpy(dtype=float).T
            if not np.isfinite(discharge).all() or (discharge.std(1) == 0).any():
                continue  # a station without a value in these years
            place = {node: row for row, node in enumerate(nodes)}
            edges = np.zeros((len(nodes), len(nodes)), bool)
            for source, target in drives:
                edges[place[target], place[source]] = True
            small = 1e-3 * discharge.mean(1, keepdims=True) + 1e-9
            systems.append(
                KnownSystem(
                    name=f"subgraph {number}",
                    x=np.diff(np.log(np.maximum(discharge, small)))[None],
                    sample_rate=24 / STEP_H,
                    tau_max_s=TAU_MAX_H / 24,
                    channels=tuple(nodes),
                    edges=edges,
                    level=discharge.mean(1),
                )
            )
        return systems


class _Graph:
    """Stands for a graph's class: takes the state that was pickled, and does nothing."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _Unpickler(pickle.Unpickler):
    """Knows graphs and nothing else: a pickle may call whatever it can name."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("networkx.classes.") and name in ("DiGraph", "Graph"):
            return _Graph
        if module.startswith("networkx.classes.") and name.startswith("_CachedProperty"):
            return _Graph
        raise pickle.UnpicklingError(f"{module}.{name} is no graph")


def read_graphs(path: Path) -> list[tuple[list[str], list[tuple[str, str]]]]:
    """Read (nodes, edges as (source, target)) of every graph in a pickled list.

    Raises
    ------
    DataError
        Where the file holds anything else.
    """
    try:
        graphs = _Unpickler(io.BytesIO(path.read_bytes())).load()
        return [
            (
                [str(node) for node in sorted(graph.__dict__["_node"])],
                [
                    (str(source), str(target))
                    for source, targets in graph.__dict__["_adj"].items()
                    for target in targets
                ],
            )
            for graph in graphs
        ]
    except (pickle.UnpicklingError, KeyError, TypeError, AttributeError, EOFError, ValueError) as error:
        raise DataError(f"{path}: expected a pickled list of networkx graphs ({error})") from None
