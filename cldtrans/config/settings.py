"""The experiment's settings as strict models: types, bounds and the one description of each.

Values live in ``config/*.yaml`` alone.
What runs is chosen by lists (an overlay replaces a list but merges a mapping).
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from cldtrans.errors import suggestion

Budget = Literal["0", "0.01", "0.1", "1.0"]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Names become parts of paths and command lines: nothing in them may lead elsewhere or do anything there."""
Name = Annotated[str, StringConstraints(pattern=NAME, max_length=64)]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


class Section(BaseModel):
    """A mapping in the config: unknown keys are errors, and so are values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceConfig(Section):
    """Where recordings come from. Never part of a fingerprint: only the bytes are."""

    url: str = Field(
        description="s3://bucket[/prefix] or a folder with the same keys; CLDTRANS_MIRROR overrides it."
    )
    endpoint: str | None = Field(description="Address of another S3 service; null: Amazon's.")
    miniature: Literal["tiny", "demo", "standard"] | None = Field(
        description="Size of the embedded miniature to write at `url` first; null: none."
    )
    allow_absent: bool = Field(
        description="Whether a dataset that the source lacks is a line in the report instead of an error."
    )


class DatasetClassConfig(Section):
    """A dataset of one's own, as ``module:Class``; the word alone stands for one without settings."""

    factory: str = Field(
        alias="class", description="Class, as `package.module:Class`; its package may be your own."
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the class.")

    model_config = ConfigDict(serialize_by_alias=True)

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        return {"class": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _names_a_class(self) -> DatasetClassConfig:
        if self.factory.count(":") != 1:
            raise ValueError(f"{self.factory!r} should read 'package.module:Class'")
        return self


class DatasetConfig(Section):
    """How one corpus becomes shards (``config/datasets/<name>.yaml``); window and rate have no default."""

    window_s: PositiveFloat = Field(description="Length of a window, seconds.")
    stride_s: PositiveFloat = Field(
        default=0.0,
        validate_default=False,
        description="From one window's start to the next one's, seconds; left out: a window's length.",
    )
    rate_hz: PositiveFloat = Field(
        description="Sampling rate of the windows, hertz; recordings of other rates are resampled."
    )
    band_hz: tuple[float, float] = Field(
        default=(0.0, 0.0),
        description="Pass band of the zero-phase filter, hertz: rising, and below half of `rate_hz`; left "
        "out: 0.5 to 40, or to 0.45 times a lower rate.",
    )
    scale: Literal["recording", "window"] = Field(
        default="recording",
        description="What each channel is standardised over: the whole recording, or each window.",
    )
    dtype: Literal["float32", "float16"] = Field(
        default="float32", description="Number format of the samples in the shards."
    )
    shards: PositiveInt = Field(
        default=4, description="Files of windows, a multiple of `batches`: part of the content."
    )
    batches: PositiveInt = Field(
        default=4, description="Preprocessing jobs: they leave no trace in the content."
    )
    onset_windows: int = Field(
        default=0, ge=0, description="Extra windows a seizure, the first beginning at its onset."
    )
    subjects: PositiveInt | None = Field(
        default=None, description="The first so many subjects only; null: all."
    )
    records: PositiveInt | None = Field(
        default=None, description="The first so many recordings only; null: all."
    )
    glob: list[str] | None = Field(
        default=None, description="Patterns, one of which a recording's key has to match; null: all."
    )

    @model_validator(mode="before")
    @classmethod
    def _follow(cls, values: Any) -> Any:
        """Fill in what follows from window and rate."""
        if not isinstance(values, dict):
            return values
        window_s, rate_hz = values.get("window_s"), values.get("rate_hz")
        follow: dict[str, Any] = {}
        if isinstance(window_s, int | float):
            follow["stride_s"] = window_s
        if isinstance(rate_hz, int | float):
            follow["band_hz"] = (0.5, min(40.0, 0.45 * rate_hz))
        return {**follow, **values}

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


Block = Literal["events", "contexts", "codes", "covariance", "eigenvalues"]


class ModelConfig(Section):
    """The network; an ablation is an overlay on this section."""

    width: PositiveInt = Field(description="Width D of the latent motifs.")
    codebook_size: PositiveInt = Field(description="Entries K of each codebook.")
    shared_codebook: bool = Field(description="One codebook for EEG and ECG, or one each.")
    blocks: PositiveInt = Field(description="Token-mixing blocks of the encoder.")
    ode_width: PositiveInt = Field(description="Width of a channel's state in the graph ODE.")
    pair_width: PositiveInt = Field(
        description="Width of the network that refines the lag features of a pair of channels."
    )
    knots: PositiveInt = Field(description="Times in a window at which the adjacency changes.")
    sources: PositiveInt = Field(
        description="Largest number of sources in the lag model of a channel, and kept in the adjacency."
    )
    tau_max_s: dict[Literal["eeg", "ecg"], PositiveFloat] = Field(
        description="End of the lag grid by modality, seconds."
    )
    solver: Literal["rk4", "dopri5"] = Field(
        description="Of the ODE; dopri5 has one step size a batch, so ranks agree to `tolerance` alone."
    )
    adjoint: bool = Field(
        description="Gradients in memory independent of the solver's steps, at ten times the time on a CPU."
    )
    tolerance: PositiveFloat = Field(description="Of dopri5, relative and absolute.")
    quantize: bool = Field(
        description="Whether decoder and ODE see codebook entries; false (no-vq): latents as they are."
    )
    lag: Literal["continuous", "integer", "none"] = Field(
        description="Resolution of lags; integer: whole samples; none: no lag inference, tau = 0."
    )
    dynamics: Literal["ode", "none"] = Field(
        description="What moves the states; none (no-ode): a map of each token by itself."
    )
    layers: int = Field(
        ge=0, description="Of the transformer that gives tokens their context; 0 (no-attention): none."
    )
    attention_width: PositiveInt = Field(
        multiple_of=2, description="Width of a token in the transformer, best a multiple of 64."
    )
    readout: list[Block] = Field(
        min_length=1, description="Blocks of the vector that heads and probes see; docs/representation.md."
    )

    @field_validator("readout")
    @classmethod
    def _in_order(cls, blocks: list[Block]) -> list[Block]:
        return [name for name in get_args(Block) if name in blocks]


class LoopConfig(Section):
    """The training loop; limited by steps, never by the clock."""

    steps: PositiveInt | None = Field(
        description="Optimiser steps; training is never limited by the clock. null: as many as `epochs` take."
    )
    epochs: PositiveFloat | None = Field(
        default=None, description="How often a real window is seen, on average, where `steps` is null."
    )
    batch_size: PositiveInt = Field(description="Windows a step over all ranks.")
    micro_batch: PositiveInt = Field(
        description="Windows in memory at once on one rank; the rest of a step is accumulated."
    )
    learning_rate: PositiveFloat = Field(description="Peak, after warm-up; falls to zero as a cosine.")
    warmup_steps: int = Field(ge=0, description="Steps over which the learning rate rises.")
    weight_decay: float = Field(ge=0, description="Of matrices only: biases, norms and scalars have none.")
    clip_norm: PositiveFloat = Field(description="Bound on the gradient's norm.")
    ema_decay: float = Field(
        ge=0, lt=1, description="Decay of averaged weights, which are then validated and kept; 0: none."
    )
    precision: Literal["float32", "bf16"] = Field(
        description="bf16: autocast; FFT, likelihood and ODE stay float32."
    )
    checkpoint_every: PositiveInt = Field(description="Steps from one rolling checkpoint to the next.")
    validate_every: PositiveInt = Field(description="Steps from one validation to the next.")
    patience: PositiveInt = Field(description="Validations without a better one before an early stop.")
    divergence_factor: float = Field(
        gt=1, description="A loss this many times its running median counts as divergence."
    )
    compile: bool = Field(description="Whether torch.compile compiles the model.")
    num_workers: int = Field(ge=0, description="Threads that gather batches ahead.")

    @model_validator(mode="after")
    def _ends(self) -> LoopConfig:
        if self.steps is None and self.epochs is None:
            raise ValueError("give steps, or epochs")
        return self

    def n_steps(self, windows: float = 0.0, real: float = 1.0) -> int:
        """Return the steps: as given, or as many as the epochs of so many windows take.

        Parameters
        ----------
        windows : float
            Real windows that training sees.
        real : float
            Share of the steps that are of real windows.
        """
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, math.ceil(self.epochs * windows / (self.batch_size * max(real, 1e-9)) - 1e-6))


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
    "masked",
    "edge",
    "lag",
    "lead",
]


class Stage1Config(Section):
    """Pretraining without labels."""

    datasets: list[str] = Field(min_length=1, description="Corpora whose windows it sees.")
    validation_windows: PositiveInt = Field(
        description="At most so many windows, from held-out subjects of each corpus."
    )
    probe: list[str] = Field(
        description="Datasets with training folds: where the run has them, labels of training subjects show "
        "what a linear probe reads at a validation; nothing depends on it."
    )
    max_channels: PositiveInt | None = Field(
        description="Channels of a batch, a random subset: cheaper, and it teaches transfer; null: all."
    )
    crop_s: PositiveFloat | None = Field(
        description="Seconds of each window, a random stretch, for speed; null: all of it."
    )
    simulator_fraction: Fraction = Field(
        description="Share of steps on simulated worlds with known lags; 0: real windows alone."
    )
    mask_fraction: Fraction = Field(
        description="Share of tokens hidden from the dynamics, which have to fill them in."
    )
    span_fraction: Fraction = Field(
        description="Share of the waveform hidden from the whole network, half of it in all channels at once."
    )
    spans_every: PositiveInt = Field(
        description="That is asked of one real window in so many: it takes a further pass of the network."
    )
    weights: dict[Term, NonNegativeFloat] = Field(
        description="Weight of each term of the loss; docs/model.md says what each of them asks."
    )


class Stage2Config(Section):
    """Task heads and fine-tuning on a pretrained model."""

    variants: list[str] = Field(description="Variants that get a model with task heads.")
    seeds: list[Seed] = Field(description="Seeds of these models: one pretrained model each.")
    datasets: list[str] = Field(min_length=1, description="Datasets that get a head each.")
    mode: Literal["heads", "multitask"] = Field(
        description="heads: linear heads alone; multitask: graph ODE and attention learn all tasks at once."
    )
    steps: PositiveInt = Field(description="Of that training; batch and peak rate are those of fine-tuning.")
    finetune_steps: int = Field(
        ge=0, description="Steps of the whole network after the linear probe; 0: the probe alone."
    )
    finetune_batch: PositiveInt = Field(description="Windows a step of fine-tuning.")
    finetune_learning_rate: PositiveFloat = Field(
        description="Peak; warm-up, averaging and early stop as in `loop`."
    )


TUNED = ("finetune_steps", "finetune_batch", "finetune_learning_rate")
"""Settings of `stage2` that a method which fine-tunes a variant may have for itself."""


class SearchConfig(Section):
    """The search that every classifier with a learning rate gets; validation windows choose."""

    rate_factors: list[PositiveFloat] = Field(
        description="Factors of the configured rate that are tried beside it; none: no search."
    )


class VariantConfig(Section):
    """What one model variant changes: overlays on `model` and `stage1`."""

    model: dict[str, Any] = Field(description="Overlay on `model`.")
    stage1: dict[str, Any] = Field(description="Overlay on `stage1`.")


class PruneConfig(Section):
    """Gradients of which a part is kept."""

    keep: float = Field(gt=0, le=1, description="Share of each tensor's gradient that is kept.")
    by: Literal["magnitude", "random"] = Field(
        description="magnitude: the largest entries; random: others in each step."
    )


class FinetuneConfig(Section):
    """How a network learns within a memory budget; docs/finetuning.md."""

    strategy: Literal["full", "head", "lora", "accumulate", "fusion", "mezo"] = Field(
        description="full: all weights, the whole batch at once; head: fresh layers alone; lora: low-rank "
        "additions; accumulate: a few windows at a time, the same gradient; fusion: the gradient of a few "
        "windows joined with a slope of the whole batch; mezo: such slopes alone, without a gradient."
    )
    micro_batch: PositiveInt = Field(
        default=8, description="Windows with a graph at once, for accumulate and fusion."
    )
    share: Fraction = Field(default=0.5, description="Of the gradient beside the slope, for fusion.")
    scale: PositiveFloat = Field(
        default=1e-3, description="How far the weights are moved to find a slope, for fusion and mezo."
    )
    sparsity: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the weights that a slope leaves where they are."
    )
    rank: PositiveInt = Field(default=8, description="Of the additions, for lora.")
    prune: PruneConfig | None = Field(default=None, description="Part of the gradient; null: all of it.")


class StartConfig(Section):
    """A network that another method has trained with all labels of a dataset."""

    method: Name = Field(description="The method, whose classifier is a network.")
    dataset: Name = Field(description="Whose training labels it learns.")
    setting: str = Field(
        default="weights", description="Keyword argument of the factory that gets its checkpoint."
    )


class MethodConfig(Section):
    """A method by its factories, as ``module:factory``, or by a variant of our model to fine-tune."""

    title: str | None = Field(default=None, description="As tables and figures call it; null: its name.")
    classifier: str | None = Field(
        default=None, description="Factory of a classifier of windows; null: the method has none."
    )
    readout: str | None = Field(default=None, description="Factory of a readout of focal leads; null: none.")
    estimator: str | None = Field(
        default=None,
        description="Factory of an estimator of lags and edges, for identifiability; null: none.",
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments of the factories; of a variant, what differs from `stage2`.",
    )
    variant: Name | None = Field(
        default=None,
        exclude_if=lambda name: name is None,
        description="A variant of our model that is fine-tuned, as this method's classifier; null: none.",
    )
    finetune: FinetuneConfig | None = Field(
        default=None,
        exclude_if=lambda settings: settings is None,
        description="How its network learns; null: all weights, the whole batch at once.",
    )

    start: StartConfig | None = Field(
        default=None,
        exclude_if=lambda start: start is None,
        description="What was trained before and this starts from, or learns from; null: nothing.",
    )

    @model_validator(mode="after")
    def _has_factory(self) -> MethodConfig:
        factories = [self.classifier, self.readout, self.estimator]
        if not any([*factories, self.variant]):
            raise ValueError(
                "give at least one of classifier, readout, estimator, as 'package.module:factory', or variant"
            )
        if self.classifier and self.variant:
            raise ValueError("give a classifier or a variant, not both")
        if self.finetune and not (self.classifier or self.variant):
            raise ValueError("finetune: expected a classifier or a variant that learns, found neither")
        for factory in factories:
            if factory is not None and factory.count(":") != 1:
                raise ValueError(f"{factory!r} should read 'package.module:factory'")
        return self


class MarksConfig(Section):
    """How a BIDS set marks seizures and their onset zone."""

    zone_column: str = Field(
        description="Column, in small letters, of `_channels.tsv` or `_electrodes.tsv` that marks the zone."
    )
    zone_pattern: Pattern = Field(
        description="Regular expression that its cells hold inside the zone, in capitals or not."
    )
    onset_pattern: Pattern = Field(
        description="Regular expression that `trial_type` in `_events.tsv` holds at an onset."
    )


class IntracranialConfig(Section):
    """Intracranial recordings with the clinicians' onset zone, which the user has in a folder."""

    folder: str | None = Field(description="Where they lie; null: none, which their cells say.")
    window_s: PositiveFloat = Field(description="Length of a window, seconds.")
    rate_hz: PositiveFloat = Field(description="Sampling rate of the windows, hertz.")
    band_hz: tuple[float, float] = Field(description="Pass band of the zero-phase filter, hertz.")
    onset_windows: PositiveInt = Field(
        description="Windows a seizure, the first beginning at its onset; those before are background."
    )
    marks: MarksConfig | None = Field(
        description="Marks of a BIDS set (`ieeg`); null for `ecog`, whose files say all of it themselves."
    )


class ZeroshotConfig(Section):
    """Focal-lead localization on recorded seizures."""

    annotations: str | None = Field(
        description="Clinicians' focal leads, a csv: case,file,seizure,channels,source,rater; null: none."
    )
    intracranial: dict[Name, IntracranialConfig] = Field(
        description="Sets with an onset zone by name: `ecog`, `ieeg`, or further ones as `ieeg-<part>`."
    )


class PlantedConfig(Section):
    """Focal-lead localization of a discharge with known lead, added to real interictal EEG."""

    snr_db: list[float] = Field(
        min_length=1, description="Power of the discharge over that of the background, decibels."
    )
    trials: PositiveInt = Field(description="Discharges a seed, divided among subjects.")


class IdentifiabilityConfig(Section):
    """Simulated worlds by name; which of them run is chosen in `experiments`."""

    tau_max_s: PositiveFloat = Field(description="Largest lag that estimators search, seconds.")
    worlds: dict[Name, dict[str, Any]] = Field(
        description="Arguments of `simulate_ldsem` by the world's name; lags in seconds."
    )


class KnownLagsConfig(Section):
    """Recordings whose delays, directions or sources are known, which the user has in a folder."""

    folder: str | None = Field(description="That holds the folder of each set; null: none, which cells say.")
    folders: dict[Name, str] = Field(description="Another folder for a set, by the set's name.")
    few_channels: list[Name] = Field(
        description="Methods that get a few channels of sets with many, because of their time."
    )


class PublishedConfig(Section):
    """Predictions that others published for the test recordings of a dataset."""

    name: Name = Field(description="Of the published method, as tables call it.")
    file: str | None = Field(
        description="A csv that the user has: recording, and a column of probabilities a class; null: none."
    )


class RobustnessConfig(Section):
    """Degradations of the test input."""

    noise_db: list[float] = Field(description="Signal over added noise, decibels.")
    dropped_channels: list[Fraction] = Field(description="Share of the valid channels that is masked.")
    rate_fractions: list[Fraction] = Field(description="Recorded at this fraction of the sampling rate.")
    shifts_s: list[float] = Field(description="Windows rotated in time by so much, seconds.")
    montages: list[Literal["referential", "laplacian"]] = Field(
        description="Derived from windows of the double banana; other datasets have no such row."
    )
    discharge_db: float = Field(
        description="Power of planted discharges over that of the background, before degradation, decibels."
    )


Division = Literal["published_leaky", "loso", "tenfold"]
DIVISIONS = get_args(Division)
"""Few-shot experiments on another division than the dataset's own, by the division's name."""


class CostConfig(Section):
    """What the run may cost; nothing that it computes depends on it."""

    prices: str = Field(description="File of prices, from the folder of the workflow.")
    limit: PositiveFloat | None = Field(
        description="Forecast above which the workflow refuses to start, in the prices' currency; null: none."
    )
    devices: int = Field(ge=0, description="GPUs that training is paid on; 0: it is paid by its cores.")
    job_min: PositiveFloat = Field(
        description="Assumed minutes of a job that neither trains nor has been timed by an earlier run."
    )


class DeployConfig(Section):
    """A network that is exported, quantised, timed, and refused where it loses too much."""

    method: Name = Field(description="The method, whose classifier is a network.")
    dataset: Name = Field(description="Whose training labels it learns, and on whose test it is scored.")
    seed: Seed = Field(description="Of the division and of the training.")
    tolerance: NonNegativeFloat = Field(
        description="Most that an artefact's score may be worse than the network's own, in its metric's unit."
    )


class ExperimentBlock(Section):
    """A block of result files: every combination of its lists. `target` is the rule that asks for it."""

    target: Literal[
        "zeroshot", "fewshot", "identifiability", "known_lags", "ablations", "robustness", "baselines"
    ] = Field(description="Rule that asks for the files.")
    experiment: (
        Literal["fewshot", "zeroshot", "planted", "identifiability", "known_lags", "robustness"]
        | Literal["lead_robustness", "reconstruction"]
        | Division
    ) = Field(description="What is done; the first folder of the files' path.")
    datasets: list[str] = Field(
        min_length=1, description="Names of datasets; of simulated worlds for identifiability."
    )
    methods: list[str] = Field(min_length=1, description="Names of methods or variants.")
    budgets: list[Budget] = Field(min_length=1, description="Shares of the training labels; 0: none.")
    seeds: list[Seed] = Field(min_length=1, description="Seeds of splits, training and sampling.")


class PlanConfig(Section):
    """Fallbacks of the plan, one line each; `cldtrans estimate` says what each saves."""

    first_seeds: PositiveInt | None = Field(
        default=None, description="Only the first so many seeds of every block and of stage 2; null: all."
    )
    skip_budgets: list[Budget] = Field(
        default_factory=list,
        description="Label budgets that are left out of blocks that have others, too; 1.0: no condition with "
        "all labels.",
    )


class Config(Section):
    """One run of the pipeline."""

    run: str = Field(
        max_length=64,
        pattern=r"^[a-z0-9][a-z0-9_.-]*$",
        description="Name of the run, and of its folders in `results`, `data` and `logs`.",
    )
    raw: str = Field(description="Folder of raw recordings, laid out like the bucket.")
    scratch: str | None = Field(
        default=None,
        exclude_if=lambda folder: folder is None,
        description="Folder of rolling checkpoints, on every training node; null: `data/<run>/scratch`.",
    )
    threads: PositiveInt = Field(
        description="CPU threads of a training or evaluation job; part of a CPU result's bits."
    )
    fft: Literal["device", "cpu"] = Field(
        default="device",
        description="cpu: transforms leave the GPU for the CPU, where `cldtrans doctor` finds its FFT wrong.",
    )
    source: SourceConfig = Field(description="Where recordings come from.")
    datasets: list[str] = Field(min_length=1, description="Datasets that are downloaded and preprocessed.")
    dataset_classes: dict[Name, DatasetClassConfig] = Field(
        default_factory=dict,
        exclude_if=lambda classes: not classes,  # a run without any has the settings that it always had
        description="Datasets of your own by name, `package.module:Class`; `datasets` chooses among them.",
    )
    preprocess: dict[Name, DatasetConfig] = Field(
        description="How each dataset becomes shards; one file a dataset, `config/datasets/<name>.yaml`."
    )
    variants: dict[Name, VariantConfig] = Field(
        description="Variants of our model by name; an ablation is one of them."
    )
    size: Name = Field(description="Size of the network, one of `sizes`.")
    sizes: dict[Name, dict[str, Any]] = Field(
        description="Values of `model` by the size's name; what `model` itself says comes before them."
    )
    model: ModelConfig = Field(description="The network.")
    loop: LoopConfig = Field(description="The training loop.")
    stage1: Stage1Config = Field(description="Pretraining.")
    stage2: Stage2Config = Field(description="Task heads and fine-tuning.")
    search: SearchConfig = Field(description="Equal search budget of all classifiers.")
    methods: dict[Name, MethodConfig] = Field(description="Methods beside ours by name.")
    zeroshot: ZeroshotConfig = Field(description="Focal leads of recorded seizures.")
    planted: PlantedConfig = Field(description="Focal leads of planted discharges.")
    identifiability: IdentifiabilityConfig = Field(description="Lag recovery on simulated worlds.")
    known_lags: KnownLagsConfig = Field(description="Lags that physics or clinicians know.")
    robustness: RobustnessConfig = Field(description="Degraded test input.")
    cost: CostConfig = Field(description="What the run may cost.")
    published: dict[Name, PublishedConfig] = Field(
        description="Published predictions by dataset, with which kept ones are compared."
    )
    paper_style: str | None = Field(
        default=None,
        exclude_if=lambda style: style is None,
        description="A conference's LaTeX style (.sty) for the draft; null: a plain page of like size.",
    )
    deploy: list[DeployConfig] = Field(
        default_factory=list,
        exclude_if=lambda blocks: not blocks,
        description="Networks that are exported; none by default.",
    )
    plan: PlanConfig = Field(
        default_factory=PlanConfig,
        exclude_if=lambda plan: plan.first_seeds is None and not plan.skip_budgets,
        description="What of the plan is left out where the machine has not the time for all.",
    )
    experiments: list[ExperimentBlock] = Field(min_length=1, description="The plan: blocks of result files.")

    @model_validator(mode="after")
    def _reduced(self) -> Config:
        """Leave out of the blocks and of stage 2 what `plan` says; once or several times is the same."""
        n_seeds, skipped = self.plan.first_seeds, set(self.plan.skip_budgets)
        for block in self.experiments:
            block.seeds[:] = block.seeds[:n_seeds]
            block.budgets[:] = [one for one in block.budgets if one not in skipped] or block.budgets
        self.stage2.seeds[:] = self.stage2.seeds[:n_seeds]
        return self

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, values: Any) -> Any:
        """Complete `model` by the values of its size."""
        if not isinstance(values, dict) or not isinstance(values.get("model"), dict):
            return values
        sizes = values.get("sizes")
        of_size = sizes.get(values.get("size")) if isinstance(sizes, dict) else None
        return (
            values if not isinstance(of_size, dict) else {**values, "model": {**of_size, **values["model"]}}
        )

    @property
    def has_heads(self) -> bool:
        """Tell whether task heads are made: not where `datasets` holds none of those that get one."""
        return bool(set(self.stage2.datasets) & set(self.datasets))

    @property
    def pretrains(self) -> bool:
        """Tell whether any variant of our model is trained, for task heads or for an experiment."""
        heads = self.has_heads and self.stage2.variants and self.stage2.seeds
        asked = {self.variant_of(name) for block in self.experiments for name in block.methods}
        return bool(heads or asked & set(self.variants))

    def variant_of(self, method: str) -> str | None:
        """Return the variant of our model that a method is or fine-tunes; None for any other method."""
        return method if method in self.variants else getattr(self.methods.get(method), "variant", None)

    def finetuned(self, method: str) -> Config:
        """Return the settings by which a method that fine-tunes a variant learns: `stage2` with its own."""
        own = self.methods[method].settings if method in self.methods else {}
        return self.model_copy(update={"stage2": self.stage2.model_copy(update=own)})

    @model_validator(mode="after")
    def _known_names(self) -> Config:
        def known(name: str, names: Any, where: str) -> None:
            if name not in names:
                raise ValueError(f"{where}: unknown name {name!r}{suggestion(name, names)}")

        known(self.size, self.sizes, "size")
        for name in self.datasets:
            known(name, self.preprocess, "datasets")
        for name in self.stage1.datasets:
            known(name, self.datasets if self.pretrains else self.preprocess, "stage1.datasets")
        for name in self.stage1.probe:
            known(name, self.preprocess, "stage1.probe")
        for name in self.stage2.datasets:
            known(name, self.datasets if self.has_heads else self.preprocess, "stage2.datasets")
        for block in self.experiments:
            worlds = block.experiment == "identifiability"
            zones = self.zeroshot.intracranial if block.experiment == "zeroshot" else {}
            sets = [*self.datasets, *zones]
            for name in block.datasets if block.experiment != "known_lags" else ():  # its readers know those
                known(name, self.identifiability.worlds if worlds else sets, "experiments.datasets")
            for name in block.methods:
                known(name, {**self.methods, **self.variants}, "experiments.methods")
        for name in set(self.preprocess) & set(self.zeroshot.intracranial):
            raise ValueError(f"zeroshot.intracranial: {name!r} is already the name of a dataset")
        for name in set(self.methods) & set(self.variants):
            raise ValueError(f"methods: {name!r} is already the name of a variant")
        for one in self.deploy:
            known(one.method, self.methods, "deploy")
            known(one.dataset, self.datasets, "deploy")
        for name in {method for block in self.experiments for method in block.methods}:
            start = self.methods[name].start if name in self.methods else None
            if start is not None:
                known(start.method, self.methods, f"methods.{name}.start")
                known(start.dataset, self.datasets, f"methods.{name}.start")
        for name, method in self.methods.items():
            if method.variant is not None:
                known(method.variant, self.variants, f"methods.{name}.variant")
                for setting in method.settings:
                    known(setting, TUNED, f"methods.{name}.settings")
                steps = method.settings.get("finetune_steps", self.stage2.finetune_steps)
                if not steps:
                    raise ValueError(f"methods.{name}: fine-tuning needs settings.finetune_steps > 0")
        return self
