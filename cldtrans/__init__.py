"""Causal-Lagged Dynamic Transformer for biosignals.

Names load on first use, so that importing the package costs nothing.
"""

from importlib import import_module, metadata
from typing import Any

_HOME = {
    "CLDTrans": "models",
    "CLDTransFeatures": "interfaces.features",
    "LDSEM": "interfaces.ldsem",
    "ShardSet": "data.shards",
    "WindowsDataset": "interfaces.windows",
    "fit_ldsem": "lag",
    "focal_lead": "lag",
    "lags_of_recording": "lag.recording",
    "pairwise_delays": "lag",
}

__all__ = [
    "LDSEM",
    "CLDTrans",
    "CLDTransFeatures",
    "ShardSet",
    "WindowsDataset",
    "__version__",
    "fit_ldsem",
    "focal_lead",
    "lags_of_recording",
    "pairwise_delays",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("cldtrans")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
