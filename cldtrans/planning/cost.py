"""What a config will cost before it runs: jobs, bytes, device-hours and days. Needs no torch and no data.

Counts of jobs and windows follow from the config. A source on disk is measured: a mirror that holds a tenth
of a corpus counts for a tenth. Where the run has already downloaded or indexed a dataset, its own numbers
replace the published ones. Hours follow from one measured number, the time of a stage-1 step
(of a finished pretraining, or of a few steps by `cldtrans.planning.calibrate`):
a window is taken to cost the same in every training stage, and a third of that where it only passes forward.
Everything else is an assumption, and printed as one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from tabulate import SEPARATING_LINE, tabulate

from cldtrans.config import Config, deep_merge, fingerprint, parse
from cldtrans.data import chosen_dataset
from cldtrans.planning.plan import Plan

GIB = 1 << 30
FORWARD_SHARE = 1 / 3  # of the time of forward and backward pass together
BOOKED_DAYS = (8, 10)  # of wall-clock on the node, of two weeks that are booked
SUBSET = 200_000  # records of the largest corpus, as the paper's fallback has it
CALIBRATE = "cldtrans estimate --config FILE --calibrate"
REPORT = (
    *("compare_published", "audit", "make_tables", "plot_architecture", "plot_scores", "plot_training"),
    *("plot_readings", "plot_propagation", "write_paper", "compile_paper", "write_front"),
)


@dataclass(frozen=True)
class Pace:
    """How fast the machine is.

    Attributes
    ----------
    step_ms : float or None
        One stage-1 optimiser step of the global batch on all devices together; None: unknown.
    origin : str
        Where `step_ms` comes from.
    devices : int
        GPUs (or processes) that train side by side.
    cores : int
        For preprocessing.
    download_mb_s : float
        Assumed: megabytes a second from the source.
    samples_m_s : float
        Assumed: million stored samples a second and core through filter, resampling and writing.
    job_min : float
        Assumed minutes of a job that neither trains nor preprocesses.
    """

    step_ms: float | None
    origin: str
    devices: int
    cores: int
    download_mb_s: float
    samples_m_s: float
    job_min: float


@dataclass(frozen=True)
class DatasetCost:
    """Bytes and windows of one dataset."""

    name: str
    download_bytes: int
    windows: int
    shard_bytes: int
    measured: bool  # windows are counted, not estimated
    known: bool  # False: a dataset of the user's own, or a miniature, before it is there


@dataclass(frozen=True)
class StageCost:
    """Jobs and time of one stage; None: unknown without a step time."""

    name: str
    jobs: int
    device_hours: float | None
    wall_hours: float | None
    how: str


@dataclass(frozen=True)
class CostEstimate:
    """Cost of a whole config."""

    run: str
    datasets: list[DatasetCost]
    stages: list[StageCost]
    pace: Pace

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)


def estimate_cost(config: Config, pace: Pace, root: Path = Path()) -> CostEstimate:
    """Add up a config's cost; `root` is the folder that holds its `data/` and `results/`."""
    datasets = [dataset_cost(config, name, root) for name in config.datasets]
    return CostEstimate(config.run, datasets, stage_costs(config, datasets, pace), pace)


def dataset_cost(config: Config, name: str, root: Path) -> DatasetCost:
    """Count from the run's own files where they exist, else from published sizes and the config's subset."""
    settings = config.preprocess[name]
    dataset = chosen_dataset(name, config.dataset_classes)
    published = dataset.published if config.source.miniature is None else None
    stamp = _read(root / f"data/{config.run}/download/{name}.json")
    meta = _read(root / f"data/{config.run}/shards/{name}/meta.json")
    size = hours = 0.0
    if published is not None:
        limits = ((settings.records, published.recordings), (settings.subjects, published.subjects))
        share = min([1.0, *(limit / total for limit, total in limits if limit is not None)])
        whole = published.size_gib * GIB
        held = held_bytes(config, dataset.folder(Path()), root)
        share = share if held is None else min(share, held / whole)
        size, hours = whole * share, published.hours * share
    windows = meta["n_windows"] if meta else int(hours * 3600 / settings.stride_s)
    samples = len(dataset.channels) * round(settings.window_s * settings.rate_hz)
    return DatasetCost(
        name,
        int(stamp["bytes"] if stamp else size),
        windows,
        windows * samples * (2 if settings.dtype == "float16" else 4),
        measured=meta is not None,
        known=published is not None or meta is not None,
    )


def held_bytes(config: Config, place: Path, root: Path) -> int | None:
    """Return the bytes that a source on disk holds below a place; None for a source elsewhere."""
    url = os.environ.get("CLDTRANS_MIRROR") or config.source.url
    if "://" in url:
        return None
    files = (root / url / place).rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def stage_costs(config: Config, datasets: list[DatasetCost], pace: Pace) -> list[StageCost]:
    """List the stages in the order in which they run."""
    jobs = Plan(config).jobs()
    size = {cost.name: cost for cost in datasets}
    window_h = None if pace.step_ms is None else pace.step_ms * pace.devices / config.loop.batch_size / 3.6e6
    stage2 = config.stage2
    together = stage2.steps if stage2.mode == "multitask" else 0
    heads = jobs["train_stage2"] * together * stage2.finetune_batch
    tried = 1 + len(config.search.rate_factors)
    cells = jobs["score_fewshot"] * tried * stage2.finetune_steps * stage2.finetune_batch
    evaluated = {name for block in config.experiments for name in block.datasets if name in size}
    mean_windows = sum(size[name].windows for name in evaluated) / max(1, len(evaluated))
    known = all(size[name].known for name in evaluated)
    passes = jobs["extract_features"] * mean_windows if known else None

    def training(name: str, rule: str, windows: float | None, how: str, share: float = 1.0) -> StageCost:
        unknown = windows is None or (window_h is None and windows > 0)
        hours = None if unknown else (windows or 0.0) * (window_h or 0.0) * share
        return StageCost(name, jobs[rule], hours, None if hours is None else hours / pace.devices, how)

    def others(name: str, rules: Iterable[str]) -> StageCost:
        number = sum(jobs[rule] for rule in rules)
        hours = number * pace.job_min / 60 / max(1, pace.cores // config.threads)
        return StageCost(
            name, number, 0.0, hours, f"assumed {pace.job_min:g} min a job of {config.threads} cores"
        )

    download_h = sum(cost.download_bytes for cost in datasets) / (pace.download_mb_s * 1e6) / 3600
    stored = sum(cost.download_bytes for cost in datasets) / 2  # 16-bit samples
    preprocess_h = stored / (pace.samples_m_s * 1e6) / 3600 / max(1, pace.cores)
    steps, how = pretraining_steps(config, size)
    pretrained = None if steps is None else float(jobs["train_stage1"] * steps * config.loop.batch_size)
    return [
        StageCost(
            "download", jobs["download_dataset"], 0.0, download_h, f"assumed {pace.download_mb_s:g} MB/s"
        ),
        StageCost(
            "preprocess",
            jobs["preprocess_batch"] + jobs["index_shards"] + jobs["split_dataset"] + jobs["divide_dataset"],
            0.0,
            preprocess_h,
            f"assumed {pace.samples_m_s:g} M samples/s a core, {pace.cores} cores",
        ),
        training("stage 1", "train_stage1", pretrained, how),
        training("features", "extract_features", passes, "one forward pass a window", FORWARD_SHARE),
        training("stage 2", "train_stage2", heads, f"{together:,} steps of {stage2.finetune_batch}, at most"),
        training(
            "few-shot",
            "score_fewshot",
            cells,
            f"{tried} rates, {stage2.finetune_steps:,} steps of {stage2.finetune_batch} each, at most",
        ),
        others(
            "baselines, focal lead, robustness",
            [
                "train_network",
                "score_fewshot_baseline",
                "score_focal_lead",
                "score_reconstruction",
                "score_robustness",
                "deploy_network",
            ],
        ),
        others("identifiability, known lags", ["score_identifiability", "score_known_lags"]),
        others("miniature, tables, figures", ["write_miniature", *REPORT]),
    ]


def pretraining_steps(config: Config, size: dict[str, DatasetCost]) -> tuple[int | None, str]:
    """Return the steps of a pretraining (None: its corpora are not known yet), and how they come about."""
    loop, corpora = config.loop, [size[name] for name in config.stage1.datasets]
    if loop.steps is None and not all(cost.known for cost in corpora):
        return None, f"{loop.epochs:g} epochs of corpora that are not here yet"
    steps = loop.n_steps(sum(cost.windows for cost in corpora), 1 - config.stage1.simulator_fraction)
    how = f"{steps:,} steps of {loop.batch_size}, size {config.size}"
    return steps, how if loop.steps is not None else f"{loop.epochs:g} epochs: {how}"


def measured_step_ms(config: Config, root: Path = Path()) -> float | None:
    """Return the stage-1 step time as this run's first finished pretraining measured it, None before."""
    for path in sorted((root / f"results/{config.run}/checkpoints/stage1").glob("*/seed-*/training.json")):
        measured = (_read(path) or {}).get("step_ms")
        if measured:
            return float(measured)
    return None


def calibration_path(config: Config, root: Path = Path()) -> Path:
    """Return where the pace of this machine is kept."""
    return root / f"results/{config.run}/calibration.json"


def training_settings(config: Config) -> str:
    """Return a fingerprint of what a calibration holds for."""
    sizes = {name: config.preprocess[name] for name in config.stage1.datasets}
    shapes = {name: [s.window_s, s.rate_hz] for name, s in sizes.items()}
    return fingerprint(config.model, config.stage1, config.loop, shapes)


def calibrated_step_ms(config: Config, devices: int, root: Path = Path()) -> tuple[float, str] | None:
    """Return the step time from this config's last calibration and where it was made; None without one."""
    found = _read(calibration_path(config, root))
    if found is None or found["settings_sha256"] != training_settings(config):
        return None
    step_ms = round(found["window_ms"] * config.loop.batch_size / devices, 1)
    origin = f"{found['window_ms']:.1f} ms a window, calibrated on one {found['device']}"
    return step_ms, origin + (f"; {devices} are taken to be {devices} times as fast" if devices > 1 else "")


@dataclass(frozen=True)
class Fallback:
    """A planned reduction, and what it saves.

    Attributes
    ----------
    words : str
        What is left out.
    line : str
        The line of an overlay that does it.
    jobs : int
        Saved.
    wall_hours : float or None
        Saved; None: unknown without a step time.
    """

    words: str
    line: str
    jobs: int
    wall_hours: float | None


def fallbacks(config: Config, pace: Pace, root: Path = Path()) -> list[Fallback]:
    """List the planned reductions that this config does not use yet, each by itself."""
    whole = estimate_cost(config, pace, root)
    found = []
    for words, line, used in (
        (
            f"{SUBSET:,} records of MIMIC-IV-ECG",
            f"preprocess: {{mimic_ecg: {{records: {SUBSET}}}}}",
            "mimic_ecg" not in config.datasets
            or (config.preprocess["mimic_ecg"].records or SUBSET + 1) <= SUBSET,
        ),
        ("three seeds", "plan: {first_seeds: 3}", (config.plan.first_seeds or 4) <= 3),
        (
            "no condition with all labels",
            'plan: {skip_budgets: ["1.0"]}',
            "1.0" in config.plan.skip_budgets,
        ),
    ):
        if used:
            continue
        overlay = yaml.safe_load(line)
        reduced = parse(deep_merge(config.model_dump(mode="json", by_alias=True), overlay))
        less = estimate_cost(reduced, pace, root)
        before, after = wall_hours(whole), wall_hours(less)
        saved = None if before is None or after is None else before - after
        jobs = sum(stage.jobs for stage in whole.stages) - sum(stage.jobs for stage in less.stages)
        found.append(Fallback(words, line, jobs, saved))
    return found


def wall_hours(result: CostEstimate) -> float | None:
    """Return the hours of all stages one after the other; None where one is unknown."""
    return _total(stage.wall_hours for stage in result.stages)


def render_fit(result: CostEstimate, ways: list[Fallback]) -> str:
    """Say whether a plan fits the booked days, stage by stage, and what its fallbacks save."""
    hours, (least, most) = wall_hours(result), BOOKED_DAYS
    if hours is None:
        verdict = f"Whether it fits the booked {least}-{most} days cannot be said without a step time."
    else:
        days = hours / 24
        fits = "fits" if days <= least else "fits only just" if days <= most else "does NOT fit"
        parts = [
            f"{stage.name} {stage.wall_hours / 24 / most:.0%}"
            for stage in result.stages
            if stage.wall_hours is not None and stage.wall_hours / 24 / most >= 0.005
        ]
        verdict = (
            f"{days:.1f} days on {result.pace.devices} device(s): {fits} the booked {least}-{most} days "
            f"(of {most} days: {', '.join(parts) or 'next to nothing'})."
        )
    if not ways:
        return verdict + "\n"
    rows = [["fallback", "saves jobs", "saves", "line of an overlay"]]
    rows += [[way.words, f"{way.jobs:,}", _duration(way.wall_hours), way.line] for way in ways]
    table = tabulate(
        rows, headers="firstrow", colalign=["left", "right", "right", "left"], disable_numparse=True
    )
    return f"{verdict}\n\n{table}\n"


def render(result: CostEstimate) -> str:
    """Write tables for a terminal."""
    rows = [["dataset", "download", "windows", "shards"]]
    for cost in result.datasets:
        about = "" if cost.measured else "~"
        known = [_bytes(cost.download_bytes), f"{about}{cost.windows:,}", about + _bytes(cost.shard_bytes)]
        rows.append([cost.name, *(known if cost.known else ["?", "?", "?"])])
    totals = [
        sum(getattr(c, key) for c in result.datasets) for key in ("download_bytes", "windows", "shard_bytes")
    ]
    rows.append(SEPARATING_LINE)
    rows.append(["total", _bytes(totals[0]), f"{totals[1]:,}", _bytes(totals[2])])
    stages = [["stage", "jobs", "device-hours", "wall-clock", "how"]]
    for stage in result.stages:
        row = [
            stage.name,
            f"{stage.jobs:,}",
            _number(stage.device_hours),
            _duration(stage.wall_hours),
            stage.how,
        ]
        stages.append(row)
    device = _total(stage.device_hours for stage in result.stages)
    wall = _total(stage.wall_hours for stage in result.stages)
    jobs = sum(stage.jobs for stage in result.stages)
    stages.append(SEPARATING_LINE)
    stages.append(["total", f"{jobs:,}", _number(device), _duration(wall), "stages one after the other"])
    pace = result.pace
    if pace.step_ms is None:
        note = f"Step time unknown: `{CALIBRATE}` measures it on this machine, or give --step-ms."
    else:
        note = f"Step time {pace.step_ms:g} ms on {pace.devices} device(s): {pace.origin}."
    tables = [
        tabulate(table, headers="firstrow", colalign=align, disable_numparse=True)
        for table, align in ((rows, ["left", *["right"] * 3]), (stages, ["left", *["right"] * 3, "left"]))
    ]
    return "\n\n".join([f"Run {result.run!r}", *tables, note]) + "\n"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _total(hours: Iterable[float | None]) -> float | None:
    known = list(hours)
    return None if None in known else sum(hour for hour in known if hour is not None)


def _bytes(number: int) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"


def _number(hours: float | None) -> str:
    return "?" if hours is None else f"{hours:,.1f}"


def _duration(hours: float | None) -> str:
    if hours is None:
        return "?"
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"
