"""The experiment's settings: what they are, how they are read, and what parts of it take from them."""

from cldtrans.config.derived import (
    content_settings,
    dataset_settings,
    fingerprint,
    pretraining_settings,
    variant,
)
from cldtrans.config.reading import config_file, deep_merge, load, load_any, parse, resolve, write_resolved
from cldtrans.config.settings import (
    NAME,
    Config,
    DatasetClassConfig,
    DatasetConfig,
    IntracranialConfig,
    LoopConfig,
    MarksConfig,
    MethodConfig,
    ModelConfig,
    RobustnessConfig,
    Section,
    Stage1Config,
)

__all__ = [
    "NAME",
    "Config",
    "DatasetClassConfig",
    "DatasetConfig",
    "IntracranialConfig",
    "LoopConfig",
    "MarksConfig",
    "MethodConfig",
    "ModelConfig",
    "RobustnessConfig",
    "Section",
    "Stage1Config",
    "config_file",
    "content_settings",
    "dataset_settings",
    "deep_merge",
    "fingerprint",
    "load",
    "load_any",
    "parse",
    "pretraining_settings",
    "resolve",
    "variant",
    "write_resolved",
]
