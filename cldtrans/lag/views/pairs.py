"""What results about pairs of channels offer: frames, graphs, labelled arrays, pictures, a line of text."""

from __future__ import annotations

import html
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Shaped

from cldtrans.errors import DataError
from cldtrans.lag.pairwise.result import NORMAL95

if TYPE_CHECKING:
    import networkx
    import pandas as pd
    import xarray
    from matplotlib.axes import Axes

Picture = Literal["heat_map", "head", "ladder"]
MOST_ROWS = 20
"""Rows of a table that a notebook shows."""


@dataclass(frozen=True)
class Pairs:
    """Edges between channels, as pictures and exports take them.

    Attributes
    ----------
    channels : list of str
        C names.
    table : DataFrame
        One row an edge: source, target, tau_ms, and whatever else is known of it; `reading`, where given,
        says how far the lag can be read.
    matrices : dict of arrays [C, C]
        Row = target; what is given of every pair.
    attributes : dict
        Numbers and words about the whole.
    left_out : list of int
        Channels that had to be left out.
    warnings : list of str
        What speaks against believing it, one line each.
    """

    channels: list[str]
    table: pd.DataFrame
    matrices: dict[str, Shaped[np.ndarray, "C C"]]
    attributes: dict[str, Any]
    left_out: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class PairViews:
    """The views of a result that knows its `Pairs`."""

    @abstractmethod
    def pairs(self) -> Pairs:
        """Return names, edges and matrices."""

    @abstractmethod
    def headline(self) -> str:
        """Say in a line what this is."""

    def __repr__(self) -> str:
        return f"<{self.headline()}>"

    def _repr_html_(self) -> str:
        """Show the headline, the first edges and the warnings in a notebook."""
        pairs, table = self.pairs(), self.to_frame()
        shown = table.head(MOST_ROWS)
        parts = [f"<p><b>{html.escape(self.headline())}</b></p>"]
        if len(shown):
            parts.append(shown.to_html(index=False, float_format="%.4g", border=0))
        if len(table) > len(shown):
            parts.append(f"<p>and {len(table) - len(shown)} more: <code>to_frame()</code></p>")
        if pairs.warnings:
            lines = "".join(f"<li>{html.escape(line)}</li>" for line in pairs.warnings)
            parts.append(f"<p>Before you believe it:</p><ul>{lines}</ul>")
        return "\n".join(parts)

    def to_frame(self) -> pd.DataFrame:
        """Return the edges, one row each."""
        return self.pairs().table.copy()

    def to_networkx(self) -> networkx.DiGraph:
        """Return a directed graph, source -> target.

        Nodes are names of all channels; edges carry the columns of `to_frame`, the graph what is common.
        """
        import networkx as nx

        pairs = self.pairs()
        graph = nx.DiGraph(**pairs.attributes)
        graph.add_nodes_from(pairs.channels)
        for row in pairs.table.to_dict("records"):
            about = {str(name): value for name, value in row.items() if name not in ("source", "target")}
            graph.add_edge(row["source"], row["target"], **about)
        return graph

    def to_xarray(self) -> xarray.Dataset:
        """Return every matrix with dimensions `target` and `source`, labelled by the channels' names."""
        try:
            import xarray
        except ModuleNotFoundError as error:
            raise needs(error, "xarray") from None
        pairs = self.pairs()
        return xarray.Dataset(
            {name: (("target", "source"), values) for name, values in pairs.matrices.items()},
            coords={"target": pairs.channels, "source": pairs.channels},
            attrs=pairs.attributes,
        )

    def to_mne_connectivity(self, value: str = "tau_ms") -> Any:
        """Return the edges as `mne_connectivity.Connectivity`, whose pairs are (source, target).

        Its dense matrix has sources in rows, as everywhere in mne_connectivity, and NaN off the edges.

        Parameters
        ----------
        value : str
            A column of `to_frame`.
        """
        try:
            from mne_connectivity import Connectivity
        except ModuleNotFoundError as error:
            raise needs(error, "connectivity") from None
        pairs = self.pairs()
        if value not in pairs.table:
            raise DataError(f"value is {value!r}; known: {', '.join(map(str, pairs.table.columns))}")
        place = {name: position for position, name in enumerate(pairs.channels)}
        sources, targets = (
            np.array([place[name] for name in pairs.table[end]], dtype=int) for end in ("source", "target")
        )
        return Connectivity(
            pairs.table[value].to_numpy(dtype=float),
            n_nodes=len(pairs.channels),
            names=pairs.channels,
            indices=(sources, targets),
            method=f"LD-SEM, {value}",
        )

    def plot(self, kind: Picture | None = None, ax: Axes | None = None) -> Axes:
        """Draw the lags.

        Parameters
        ----------
        kind : one of "heat_map", "head", "ladder", optional
            Default: arrows on the head where all channels are scalp electrodes, a ladder for leads of an ECG,
            else the matrix of pairs.
        ax : matplotlib Axes, optional
            Where to; default: a figure of its own.

        Returns
        -------
        Axes
            What was drawn on; `.figure` is the figure.
        """
        from cldtrans.lag.views.pictures import draw

        return draw(self.pairs(), kind, ax)


def edge_table(
    tau: np.ndarray,
    tau_stderr: np.ndarray,
    weight: np.ndarray,
    support: np.ndarray,
    channels: Sequence[str] | None,
) -> pd.DataFrame:
    """Make one row an edge, in the order of `np.nonzero(support)`: lag with 95 % interval, and weight.

    Parameters
    ----------
    tau, tau_stderr : array [C, C]
        Seconds, row = target.
    weight : array [C, C]
        In any unit.
    support : array [C, C] of bool
        The edges.
    channels : sequence of str or None
        Names of the C channels; None: their numbers.
    """
    import pandas as pd

    count = len(support)
    names = list(range(count)) if channels is None else list(channels)
    if len(names) != count:
        raise ValueError(f"{len(names)} channel names for {count} channels")
    target, source = edge = np.nonzero(support)
    half = NORMAL95 * tau_stderr[edge]
    return pd.DataFrame(
        {
            "source": [names[j] for j in source],
            "target": [names[i] for i in target],
            "tau_ms": 1e3 * tau[edge],
            "tau_stderr_ms": 1e3 * tau_stderr[edge],
            "tau_low_ms": 1e3 * (tau[edge] - half),
            "tau_high_ms": 1e3 * (tau[edge] + half),
            "weight": weight[edge],
        }
    )


def named(channels: Sequence[str] | None, count: int) -> list[str]:
    """Return names of channels, their numbers where they have none."""
    return [str(i) for i in range(count)] if channels is None else list(channels)


def needs(error: ModuleNotFoundError, extra: str) -> DataError:
    """Say which extra holds a library that is not installed."""
    return DataError(f"this needs {error.name}: pip install 'cldtrans[{extra}]'")
