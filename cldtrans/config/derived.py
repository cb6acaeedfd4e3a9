"""What parts of the experiment take from its settings: a variant's, and those that shape a content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from cldtrans.config.reading import deep_merge, explain, parse
from cldtrans.config.settings import Config, DatasetConfig, ModelConfig, Stage1Config
from cldtrans.errors import ConfigError, suggestion


def variant(config: Config, name: str) -> tuple[ModelConfig, Stage1Config]:
    """Return the model and stage-1 settings of one variant.

    Raises
    ------
    ConfigError
        Where there is no such variant, or its overlay does not fit.
    """
    if name not in config.variants:
        raise ConfigError(f"unknown variant {name!r}{suggestion(name, config.variants)}")
    overlay = config.variants[name]
    model = deep_merge(config.model.model_dump(mode="json"), overlay.model)
    stage1 = deep_merge(config.stage1.model_dump(mode="json"), overlay.stage1)
    try:
        changed = ModelConfig.model_validate(model), Stage1Config.model_validate(stage1)
    except ValidationError as error:
        what = {"ModelConfig": "model", "Stage1Config": "stage1"}[error.title]
        problems = "; ".join(explain(item | {"loc": (what, *item["loc"])}) for item in error.errors())
        raise ConfigError(f"variant {name}: {problems}") from None
    for dataset in changed[1].datasets:
        if dataset not in config.datasets:
            hint = suggestion(dataset, config.datasets)
            raise ConfigError(f"variant {name}: stage1.datasets: unknown name {dataset!r}{hint}")
    return changed


def dataset_settings(config: Config, dataset: str, origin: str | Path) -> DatasetConfig:
    """Return how a dataset becomes shards.

    Raises
    ------
    ConfigError
        Where the config, read from `origin`, knows no such dataset.
    """
    if dataset not in config.preprocess:
        raise ConfigError(f"{origin}: unknown dataset {dataset!r}{suggestion(dataset, config.preprocess)}")
    return config.preprocess[dataset]


def content_settings(config: Config, dataset: str) -> dict[str, Any]:
    """Return the settings that shape a dataset's shards.

    These are all but the number of jobs, which leaves no trace in them.
    """
    settings = config.preprocess[dataset].model_dump(mode="json", exclude={"batches"})
    if dataset in config.dataset_classes:
        settings["class"] = config.dataset_classes[dataset].model_dump(mode="json")
    return settings


def pretraining_settings(config: Config, name: str) -> dict[str, Any]:
    """Return the settings that shape a variant's pretrained model, the shards that it sees included."""
    model, stage1 = variant(config, name)
    return {
        "model": model.model_dump(mode="json"),
        "stage1": stage1.model_dump(mode="json"),
        "loop": config.loop.model_dump(mode="json"),
        "fft": config.fft,
        "preprocess": {dataset: content_settings(config, dataset) for dataset in stage1.datasets},
    }


def resized(config: Config, size: str) -> Config:
    """Return the config with the network of another size.

    Raises
    ------
    ConfigError
        Where there is no such size, or its values do not fit.
    """
    if size not in config.sizes:
        raise ConfigError(f"unknown size {size!r}{suggestion(size, config.sizes)}")
    settings = config.model_dump(mode="json")
    return parse(
        {**settings, "size": size, "model": {**settings["model"], **config.sizes[size]}}, f"size {size}"
    )


def stage2_settings(config: Config) -> dict[str, Any]:
    """Return the settings that shape a model with task heads, beside its pretrained model."""
    stage2 = config.stage2.model_dump(mode="json", exclude={"variants", "seeds", "finetune_steps"})
    if config.stage2.mode == "heads":
        return {"datasets": stage2["datasets"]}
    return {"stage2": stage2, "loop": config.loop.model_dump(mode="json")}


def fingerprint(*parts: Any) -> str:
    """Hash settings in canonical JSON by sha256: independent of key order and of where the data came from.

    Parameters
    ----------
    *parts : section or anything that JSON holds
        Of the config, or plain values.
    """
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
