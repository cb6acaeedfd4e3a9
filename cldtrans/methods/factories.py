"""Methods by name: a ``module:factory`` of the config, or a variant of our own model."""

from __future__ import annotations

import importlib
import re
from typing import Any, Literal

from cldtrans.config import DIVISIONS, Config, MethodConfig
from cldtrans.errors import ConfigError, suggestion
from cldtrans.methods.cards import Card

Role = Literal["classifier", "readout", "estimator", "reconstruction"]
ROLES: dict[str, Role] = {
    "fewshot": "classifier",
    **dict.fromkeys(DIVISIONS, "classifier"),
    "robustness": "classifier",
    "reconstruction": "reconstruction",
    "zeroshot": "readout",
    "planted": "readout",
    "lead_robustness": "readout",
    "identifiability": "estimator",
    "known_lags": "estimator",
}
"""What an experiment asks of a method."""

# Our own model, by what is asked of it. The fine-tuned one trains, so it lives above this package.
PROBED = "cldtrans.methods.ours:ProbedFeatures"
FINE_TUNED = "cldtrans.training.finetuned:FineTuned"
STRATEGY = "cldtrans.training.strategies.tuning:FineTuning"  # of methods with `finetune`
READOUTS = "cldtrans.methods.model_readouts:ModelReadouts"
RECONSTRUCTION = "cldtrans.methods.reconstruction:ReconstructionError"


def find(spec: str) -> Any:
    """Return the factory that ``package.module:factory`` names.

    Raises
    ------
    ConfigError
        Where there is no such module or factory.
    """
    module_name, _, name = spec.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"method {spec!r}: no module {error.name!r}; install it or correct the name"
        ) from None
    if not hasattr(module, name):
        raise ConfigError(f"method {spec!r}: {module_name} has no {name!r}{suggestion(name, dir(module))}")
    return getattr(module, name)


def card_of(factory: Any, settings: dict[str, Any]) -> Card | None:
    """Return the card of a method; None where it has none.

    Parameters
    ----------
    factory : callable
        What the config names. Its attribute is `card`; `card_for(**settings)`, where settings choose whom it
        stands for; or neither, and the card is that of the first factory that a setting names.
    settings : dict
        Of the config.
    """
    if hasattr(factory, "card_for"):
        return factory.card_for(**settings)
    texts = [value for value in settings.values() if isinstance(value, str)]
    specs = [text for text in texts if re.fullmatch(r"[\w.]+:\w+", text)]
    cards = [getattr(one, "card", None) for one in (factory, *map(find, specs))]
    return next((card for card in cards if card is not None), None)


def build(spec: str, *args: Any, **settings: Any) -> Any:
    """Call the factory that ``package.module:factory`` names."""
    return find(spec)(*args, **settings)


def spec_of(config: Config, name: str, role: Role) -> str:
    """Return the factory that does the work, of a configured method or of a variant of our own model."""
    found = configured(config, name, role)
    if found is not None:
        return found[0]
    if role == "estimator":
        raise ConfigError(
            f"{name!r} is a variant of the model: it estimates lags of windows, not of a system"
        )
    if role == "readout":
        return READOUTS
    if role == "reconstruction":
        return RECONSTRUCTION
    return FINE_TUNED if config.stage2.finetune_steps > 0 else PROBED


def configured(config: Config, name: str, role: Role) -> tuple[str, MethodConfig] | None:
    """Return the factory of a method for a role, with its settings; None for a variant of our own model.

    Raises
    ------
    ConfigError
        For an unknown name, or a method without that role.
    """
    if name in config.variants:
        return None
    if name not in config.methods:
        raise ConfigError(f"unknown method {name!r}{suggestion(name, {**config.methods, **config.variants})}")
    method = config.methods[name]
    if role == "reconstruction":
        raise ConfigError(f"{name!r} is no variant of the model: it reconstructs nothing")
    spec = FINE_TUNED if method.variant and role == "classifier" else getattr(method, role)
    if spec is None:
        able = [other for other, found in config.methods.items() if getattr(found, role)]
        raise ConfigError(f"method {name!r} has no {role}; methods with one: {', '.join(able) or 'none'}")
    return spec, method
