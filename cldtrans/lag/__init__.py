"""Lagged dynamic structural equation model (LD-SEM): operator, simulator, bounds, estimator; delays of pairs.

Names load on first use, so that importing the package costs nothing and the simulator needs no torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "delay": "operator",
    "lagged_mix": "operator",
    "fit_ldsem": "fit.ldsem",
    "focal_lead": "single_source.focal",
    "pairwise_delays": "pairwise.delays",
    "simulate_ldsem": "simulate",
    "lag_bounds": "bounds",
}

__all__ = [
    "delay",
    "fit_ldsem",
    "focal_lead",
    "lag_bounds",
    "lagged_mix",
    "pairwise_delays",
    "simulate_ldsem",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
