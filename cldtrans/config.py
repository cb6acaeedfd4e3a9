"""The experiment's settings: strict models, and messages that say what was probably meant.

Values live in ``config/*.yaml`` alone; the models here hold types, bounds and meaning. What runs is chosen by
lists (an overlay replaces a list but merges a mapping).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cldtrans.errors import ConfigError, suggestion
from cldtrans.files import project_folder, write_json

Budget = Literal["0", "0.01", "0.1", "1.0"]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A mapping in the config: unknown keys are errors, and so are values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceConfig(Section):
    """Where recordings come from. Never part of a fingerprint: only the bytes are."""

    url: str  # s3://bucket[/prefix] or a folder with the same keys
    endpoint: str | None  # another S3 service's address; null: Amazon's
    miniature: Literal["tiny", "demo", "standard"] | None  # write the embedded miniature there first
    allow_absent: bool  # a dataset missing at the source is a line in the report instead of an error


class DatasetConfig(Section):
    """How one corpus becomes shards (``config/datasets/<name>.yaml``)."""

    window_s: PositiveFloat
    stride_s: PositiveFloat
    rate_hz: PositiveFloat
    band_hz: tuple[float, float]
    scale: Literal["recording", "window"]
    dtype: Literal["float32", "float16"]
    shards: PositiveInt  # files of windows: part of the content
    batches: PositiveInt  # preprocessing jobs: never part of the content
    onset_windows: int = Field(ge=0)  # extra windows a seizure, the first beginning at its onset
    subjects: PositiveInt | None  # first N subjects only
    records: PositiveInt | None  # first N recordings only
    glob: list[str] | None  # keep recordings whose key matches one of these

    @model_validator(mode="after")
    def _divides(self) -> DatasetConfig:
        if self.shards % self.batches:
            raise ValueError(
                f"shards ({self.shards}) must be a multiple of batches ({self.batches}), because each job "
                f"makes whole shards; set shards to {self.batches * -(-self.shards // self.batches)}"
            )
        if not 0 < self.band_hz[0] < self.band_hz[1] < self.rate_hz / 2:
            raise ValueError(
                f"band_hz {list(self.band_hz)} must rise and stay below half of rate_hz "
                f"({self.rate_hz / 2:g} Hz)"
            )
        return self


class ModelConfig(Section):
    """The network; an ablation is an overlay on this section."""

    width: PositiveInt  # D of the latent motifs
    codebook_size: PositiveInt  # K of each codebook
    shared_codebook: bool  # one codebook for EEG and ECG, or one each
    blocks: PositiveInt  # token-mixing blocks of the encoder
    ode_width: PositiveInt  # of a channel's state in the graph ODE
    pair_width: PositiveInt  # of the network that refines the lag features of a pair of channels
    knots: PositiveInt  # times at which the adjacency changes
    sources: PositiveInt  # largest number in the lag model of a channel, and kept in the adjacency
    tau_max_s: dict[Literal["eeg", "ecg"], PositiveFloat]  # end of the lag grid
    solver: Literal["rk4", "dopri5"]  # dopri5: one step size a batch, so ranks agree to `tolerance` alone
    adjoint: bool  # memory independent of the number of solver steps, at ten times the time on a CPU
    tolerance: PositiveFloat  # of dopri5, relative and absolute
    quantize: bool  # false (no-vq): the decoder and the ODE see unquantised latents
    lag: Literal["continuous", "integer", "none"]  # integer: whole samples; none: no lag inference, tau = 0
    dynamics: Literal["ode", "none"]  # none (no-ode): a map of each token by itself


class LoopConfig(Section):
    """The training loop; limited by steps, never by the clock."""

    steps: PositiveInt
    batch_size: PositiveInt  # windows a step over all ranks
    micro_batch: PositiveInt  # windows in memory at once on one rank; the rest is accumulated
    learning_rate: PositiveFloat  # peak, after warm-up; falls to zero as a cosine
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0)  # of matrices only: biases, norms and scalars have none
    clip_norm: PositiveFloat  # bound on the gradient's norm
    ema_decay: float = Field(ge=0, lt=1)  # of averaged weights, which are then validated and kept; 0: none
    precision: Literal["float32", "bf16"]  # bf16: autocast; FFT, likelihood and ODE stay float32
    checkpoint_every: PositiveInt  # steps
    validate_every: PositiveInt  # steps
    patience: PositiveInt  # validations without a better one before an early stop
    divergence_factor: float = Field(gt=1)  # a loss this many times its running median counts as divergence
    compile: bool  # torch.compile the model
    num_workers: int = Field(ge=0)  # threads that gather batches ahead


# Terms of the stage-1 loss: reconstruction (2), codes, likelihood, score of its innovations, edges, lags,
# state, its prediction of hidden tokens; edge, lag and lead compare with the truth of simulated worlds.
Term = Literal[
    "waveform",
    "spectrum",
    "commitment",
    "ldsem",
    "innovations",
    "sparsity",
    "smoothness",
    "energy",
    "fill",
    "edge",
    "lag",
    "lead",
]


class Stage1Config(Section):
    """Pretraining without labels."""

    datasets: list[str] = Field(min_length=1)
    validation_windows: PositiveInt  # at most so many, from held-out subjects of each corpus
    max_channels: PositiveInt | None  # a random subset of channels a batch: cheaper, and it teaches transfer
    crop_s: PositiveFloat | None  # a random stretch so long of each window, for speed; null: all of it
    simulator_fraction: Fraction  # share of steps on simulated worlds with known lags; 0: real windows alone
    mask_fraction: Fraction  # of tokens hidden from the dynamics, which have to fill them in
    weights: dict[Term, NonNegativeFloat]  # of the loss's terms


class Stage2Config(Section):
    """Task heads and fine-tuning on a pretrained model."""

    variants: list[str]  # which variants get a model with task heads, and for which seeds
    seeds: list[int]
    datasets: list[str] = Field(min_length=1)
    finetune_steps: int = Field(ge=0)  # of the whole network after the linear probe; 0: the probe alone
    finetune_batch: PositiveInt  # windows a step
    finetune_learning_rate: PositiveFloat  # peak; warm-up, averaging and early stop as in `loop`


class VariantConfig(Section):
    """What one model variant changes: overlays on `model` and `stage1`."""

    model: dict[str, Any]
    stage1: dict[str, Any]


class MethodConfig(Section):
    """A method by its factories, as ``module:factory``; at least one of them."""

    classifier: str | None = None
    readout: str | None = None
    estimator: str | None = None  # of lags and edges, for identifiability
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_factory(self) -> MethodConfig:
        factories = [self.classifier, self.readout, self.estimator]
        if not any(factories):
            raise ValueError(
                "give at least one of classifier, readout, estimator, as 'package.module:factory'"
            )
        for factory in factories:
            if factory is not None and factory.count(":") != 1:
                raise ValueError(f"{factory!r} should read 'package.module:factory'")
        return self


class ZeroshotConfig(Section):
    """Focal-lead localization on recorded seizures."""

    annotations: str | None  # csv: case,file,seizure,channels,source,rater


class PlantedConfig(Section):
    """Focal-lead localization of a discharge with known lead, added to real interictal EEG."""

    snr_db: list[float] = Field(min_length=1)
    trials: PositiveInt


class IdentifiabilityConfig(Section):
    """Simulated worlds by name; which of them run is chosen in `experiments`."""

    tau_max_s: PositiveFloat
    worlds: dict[str, dict[str, Any]]


class RobustnessConfig(Section):
    """Degradations of the test input."""

    noise_db: list[float]
    dropped_channels: list[Fraction]  # of the valid ones
    rate_fractions: list[Fraction]  # recorded at this fraction of the sampling rate
    shifts_s: list[float]  # windows rotated in time by so much


class ExperimentBlock(Section):
    """A block of result files: every combination of its lists. `target` is the rule that asks for it."""

    target: Literal["zeroshot", "fewshot", "identifiability", "ablations", "robustness", "baselines"]
    experiment: Literal["fewshot", "zeroshot", "planted", "identifiability", "robustness"]
    datasets: list[str] = Field(min_length=1)
    methods: list[str] = Field(min_length=1)
    budgets: list[Budget] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)


class Config(Section):
    """One run of the pipeline."""

    run: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    raw: str  # folder of raw recordings
    threads: PositiveInt  # of a training or evaluation job; part of a CPU result's bits
    fft: Literal["device", "cpu"] = "device"  # cpu: a GPU's training sends its transforms to the CPU and back
    source: SourceConfig
    datasets: list[str] = Field(min_length=1)
    preprocess: dict[str, DatasetConfig]
    variants: dict[str, VariantConfig]
    model: ModelConfig
    loop: LoopConfig
    stage1: Stage1Config
    stage2: Stage2Config
    methods: dict[str, MethodConfig]
    zeroshot: ZeroshotConfig
    planted: PlantedConfig
    identifiability: IdentifiabilityConfig
    robustness: RobustnessConfig
    experiments: list[ExperimentBlock] = Field(min_length=1)

    @model_validator(mode="after")
    def _known_names(self) -> Config:
        def known(name: str, names: Any, where: str) -> None:
            if name not in names:
                raise ValueError(f"{where}: unknown name {name!r}{suggestion(name, names)}")

        for name in self.datasets:
            known(name, self.preprocess, "datasets")
        for name in self.stage1.datasets:
            known(name, self.datasets, "stage1.datasets")
        for name in self.stage2.datasets:
            known(name, self.datasets, "stage2.datasets")
        for block in self.experiments:
            worlds = block.experiment == "identifiability"
            for name in block.datasets:
                known(name, self.identifiability.worlds if worlds else self.datasets, "experiments.datasets")
            for name in block.methods:
                known(name, {**self.methods, **self.variants}, "experiments.methods")
        for name in set(self.methods) & set(self.variants):
            raise ValueError(f"methods: {name!r} is already the name of a variant")
        return self


def parse(settings: dict[str, Any], origin: str = "config") -> Config:
    """Check a resolved mapping.

    Raises
    ------
    ConfigError
        One line for all problems: the key's path, what is wrong, and what was probably meant.
    """
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"{origin}: " + "; ".join(_explain(item) for item in error.errors())) from None


def _explain(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown key {path!r}{suggestion(item['loc'][-1], _fields_at(item['loc'][:-1]))}"
    if item["type"] == "missing":
        return f"missing key {path!r}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


def _fields_at(loc: tuple[Any, ...]) -> list[str]:
    """Field names of the section at a path of keys."""
    model: Any = Config
    for part in loc:  # a section's field, or a mapping's key or list's position: on to what it holds
        model = model.model_fields[part].annotation if _is_section(model) else model.__args__[-1]
    return list(model.model_fields) if _is_section(model) else []


def _is_section(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)


def load(path: str | Path) -> Config:
    """The resolved config that the workflow wrote to ``results/<run>/config.json``."""
    path = Path(path)
    try:
        settings = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; the workflow writes it before the first job") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: not JSON ({error}); delete it and run the workflow again") from None
    return parse(settings, origin=str(path))


def load_any(paths: list[Path]) -> Config:
    """One resolved JSON config, or YAML overlays on the paper's config and its datasets' settings."""
    paths = [config_file(path) for path in paths]
    if len(paths) == 1 and paths[0].suffix == ".json":
        return load(paths[0])
    folder = project_folder() / "config"
    base = [folder / "config.yaml", *sorted((folder / "datasets").glob("*.yaml"))]
    return resolve([*base, *(path for path in paths if path.resolve() not in base)])


def config_file(name: str | Path) -> Path:
    """The file of that path, or the shipped config of that name (`demo`)."""
    shipped = project_folder() / "config" / f"{name}.yaml"
    return shipped if not Path(name).exists() and shipped.is_file() else Path(name)


def write_resolved(config: Config, path: str | Path) -> str:
    """Write what `load` reads, only when it differs: many processes may read the workflow at once."""
    settings = config.model_dump(mode="json")
    try:
        same = json.loads(Path(path).read_text()) == settings
    except (OSError, json.JSONDecodeError):
        same = False
    if not same:
        write_json(path, settings)
    return str(path)


def resolve(paths: Sequence[str | Path]) -> Config:
    """Merge YAML files as the workflow does (mappings merge, all else is replaced) and check the result."""
    import yaml

    merged: dict[str, Any] = {}
    for path in map(Path, paths):
        try:
            overlay = yaml.safe_load(path.read_text())
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(overlay, dict):
            raise ConfigError(f"{path}: expected a mapping of settings, found {type(overlay).__name__}")
        merged = deep_merge(merged, overlay)
    return parse(merged, origin=", ".join(map(str, paths)))


def deep_merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """`base` with `overlay` on top: mappings merge, everything else is replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged


def variant(config: Config, name: str) -> tuple[ModelConfig, Stage1Config]:
    """Model and stage-1 settings of one variant."""
    if name not in config.variants:
        raise ConfigError(f"unknown variant {name!r}{suggestion(name, config.variants)}")
    overlay = config.variants[name]
    model = deep_merge(config.model.model_dump(mode="json"), overlay.model)
    stage1 = deep_merge(config.stage1.model_dump(mode="json"), overlay.stage1)
    try:
        changed = ModelConfig.model_validate(model), Stage1Config.model_validate(stage1)
    except ValidationError as error:
        what = {"ModelConfig": "model", "Stage1Config": "stage1"}[error.title]
        problems = "; ".join(_explain(item | {"loc": (what, *item["loc"])}) for item in error.errors())
        raise ConfigError(f"variant {name}: {problems}") from None
    for dataset in changed[1].datasets:
        if dataset not in config.datasets:
            hint = suggestion(dataset, config.datasets)
            raise ConfigError(f"variant {name}: stage1.datasets: unknown name {dataset!r}{hint}")
    return changed


def content_settings(config: Config, dataset: str) -> dict[str, Any]:
    """Settings that shape a dataset's shards: all but the number of jobs, which leaves no trace in them."""
    return config.preprocess[dataset].model_dump(mode="json", exclude={"batches"})


def pretraining_settings(config: Config, name: str) -> dict[str, Any]:
    """Settings that shape a variant's pretrained model, the shards that it sees included."""
    model, stage1 = variant(config, name)
    return {
        "model": model.model_dump(mode="json"),
        "stage1": stage1.model_dump(mode="json"),
        "loop": config.loop.model_dump(mode="json"),
        "fft": config.fft,
        "preprocess": {dataset: content_settings(config, dataset) for dataset in stage1.datasets},
    }


def fingerprint(*parts: Any) -> str:
    """sha256 of settings in canonical JSON: independent of key order and of where the data came from."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
