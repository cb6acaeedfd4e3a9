"""braindecode's models, also beside a CPU build of torch.

Every release imports torchaudio at its start, of which the models used here need nothing, and whose packaged
build does not load beside a CPU build of torch. Where it does not load, placeholders stand in for it while
braindecode is imported.
"""

from __future__ import annotations

import functools
import importlib.machinery
import sys
import types
import warnings
from typing import Any

from cldtrans.errors import ConfigError

_AUDIO = ("torchaudio", "torchaudio.functional", "torchaudio.transforms")


class _Placeholder(types.ModuleType):
    """A module whose every name is a class that does nothing."""

    __path__: list[str] = []  # noqa: RUF012 - what makes it a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@functools.cache
def models() -> Any:
    """Return the module `braindecode.models`.

    Raises
    ------
    ConfigError
        Where it is not installed.
    """
    stood_in = not _audio_loads()
    if stood_in:
        for name in reversed(_AUDIO):
            module = _Placeholder(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)
            sys.modules[name] = module
            if "." in name:
                continue
            for part in _AUDIO[1:]:
                setattr(module, part.rpartition(".")[2], sys.modules[part])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import braindecode.models

            return braindecode.models
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"no module {error.name!r}: pip install 'cldtrans[baselines]' for the networks of braindecode"
        ) from None
    finally:
        if stood_in:
            for name in _AUDIO:
                sys.modules.pop(name, None)


def _audio_loads() -> bool:
    try:
        import torchaudio.functional
        import torchaudio.transforms  # noqa: F401 - whether they load is the question
    except (ImportError, OSError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        return False
    return True
