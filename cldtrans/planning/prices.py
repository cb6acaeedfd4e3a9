"""What a plan will cost, whether that is too much, and what its jobs have cost.

A job's cost is its seconds on the cores that it holds, or on devices where it trains on any. Before a run,
seconds come from the estimate; of rules that an earlier run of this config has timed, from there. Snakemake
writes those times beside each job's log (`benchmark:`) when the job ends: what a preempted machine had done
before is not in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import ValidationError
from tabulate import tabulate

from cldtrans.config import Config, Section
from cldtrans.errors import ConfigError
from cldtrans.planning.cost import (
    CostEstimate,
    Pace,
    calibrated_step_ms,
    estimate_cost,
    measured_step_ms,
)
from cldtrans.planning.plan import Plan

TRAINING = ("train_stage1", "train_stage2", "train_network", "extract_features", "score_fewshot")
"""Rules that run on devices where there are any."""
STAGES = {"train_stage1": "stage 1", "train_stage2": "stage 2", "extract_features": "features"} | {
    "score_fewshot": "few-shot",
    "download_dataset": "download",
    "preprocess_batch": "preprocess",
}
"""The stage of the estimate that a rule's time is; of a stage with several rules, its main one."""


class Prices(Section):
    """Prices of machines (``config/prices/*.yaml``)."""

    currency: str
    device_hour: float
    core_hour: float
    terabyte_month: float


@dataclass(frozen=True)
class RuleCost:
    """Jobs of one rule, before and after; None: unknown, or not run yet.

    Attributes
    ----------
    rule : str
        Its name.
    jobs : int
        In the plan.
    seconds, cost : float or None
        Forecast of all of them.
    measured_jobs : int
        With a time.
    measured_seconds, measured_cost : float or None
        Of those.
    """

    rule: str
    jobs: int
    seconds: float | None
    cost: float | None
    measured_jobs: int
    measured_seconds: float | None
    measured_cost: float | None


@dataclass(frozen=True)
class Costs:
    """Forecast and actual cost of a run.

    Attributes
    ----------
    run, currency : str
        Of which, and in what.
    rules : list of RuleCost
        Those with jobs.
    storage : float
        A month of downloads and shards.
    """

    run: str
    currency: str
    rules: list[RuleCost]
    storage: float

    @property
    def forecast(self) -> float | None:
        """Cost of the whole plan with a month of storage; None where a part is unknown."""
        known = [one.cost for one in self.rules]
        return None if None in known else sum(cost for cost in known if cost is not None) + self.storage

    @property
    def actual(self) -> float:
        """Cost of the jobs that have a time, without storage."""
        return sum(one.measured_cost or 0.0 for one in self.rules)

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self) | {"forecast": self.forecast, "actual": self.actual}


def read_prices(path: Path) -> Prices:
    """Read a file of prices.

    Raises
    ------
    ConfigError
        For no such file, another key, or a value that is no number.
    """
    try:
        return Prices.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise ConfigError(f"{path}: no prices ({error.strerror}); name a file in cost.prices") from None
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a table of prices: {' '.join(str(error).split())}") from None


def timed(logs: Path) -> dict[str, list[float]]:
    """Return the seconds of each job of a run that has ended, by rule; `logs` is the run's folder of logs."""
    found: dict[str, list[float]] = {}
    for path in sorted(logs.glob("**/*.benchmark.tsv")):
        rule = path.relative_to(logs).parts[0].removesuffix(".benchmark.tsv")
        found.setdefault(rule, []).append(float(pd.read_csv(path, sep="\t")["s"].sum()))
    return found


def costs(config: Config, prices: Prices, pace: Pace, root: Path = Path(), *, devices: int = 0) -> Costs:
    """Forecast a run, and set what its jobs have cost beside it.

    Parameters
    ----------
    config : Config
        Settings of the run.
    prices : Prices
        Of an hour.
    pace : Pace
        How fast the machine is, as `estimate_cost` takes it.
    root : Path
        The folder that holds `data/`, `results/` and `logs/`.
    devices : int
        GPUs that training is paid on; 0: it is paid by its cores.
    """
    estimate, measured = estimate_cost(config, pace, root), timed(root / f"logs/{config.run}")
    stored = sum(one.download_bytes + one.shard_bytes for one in estimate.datasets)
    rules = [
        _rule(name, number, measured.get(name, []), estimate, config, prices, devices)
        for name, number in Plan(config).jobs().items()
        if number
    ]
    return Costs(config.run, prices.currency, rules, stored / 1e12 * prices.terabyte_month)


def pace_of(config: Config, devices: int, job_min: float, root: Path = Path()) -> Pace:
    """Return the pace that is known of this machine: measured by the run, else by its last calibration."""
    step_ms = measured_step_ms(config, root)
    origin = "measured by this run's first finished pretraining"
    if step_ms is None:
        step_ms, origin = calibrated_step_ms(config, max(1, devices), root) or (None, "")
    return Pace(step_ms, origin, devices or 1, os.cpu_count() or 1, 50.0, 10.0, job_min)


def _rule(
    name: str,
    jobs: int,
    seconds: list[float],
    estimate: CostEstimate,
    config: Config,
    prices: Prices,
    devices: int,
) -> RuleCost:
    pace = estimate.pace
    on_devices = name in TRAINING and devices > 0
    hourly = prices.device_hour if on_devices else prices.core_hour * _cores(name, config)
    if seconds:
        forecast: float | None = sum(seconds) / len(seconds) * jobs * (devices if on_devices else 1)
    elif name in STAGES:
        stage = next(one for one in estimate.stages if one.name == STAGES[name])
        hours = stage.device_hours if on_devices else stage.wall_hours
        whole = None if hours is None else hours * 3600
        if whole is not None and name == "preprocess_batch":
            whole *= max(1, pace.cores)  # its jobs share the cores
        forecast = whole
    else:
        forecast = jobs * pace.job_min * 60
    return RuleCost(
        name,
        jobs,
        forecast,
        None if forecast is None else forecast / 3600 * hourly,
        len(seconds),
        sum(seconds) if seconds else None,
        sum(seconds) / 3600 * hourly * (devices if on_devices else 1) if seconds else None,
    )


def _cores(name: str, config: Config) -> int:
    """Cores that a job of a rule holds."""
    scored = name.startswith("score_") or name in TRAINING
    return config.threads if scored else 1


def refusal(found: Costs, limit: float) -> str:
    """Say why a plan must not start; "" where it may."""
    if found.forecast is None:
        unknown = ", ".join(one.rule for one in found.rules if one.cost is None)
        return (
            f"run {found.run!r} has a limit of {limit:g} {found.currency} (cost.limit), but the cost of "
            f"{unknown} is not known: measure the step time with cldtrans estimate --calibrate, or take the "
            "limit away"
        )
    if found.forecast <= limit:
        return ""
    dear = max(found.rules, key=lambda one: one.cost or 0.0)
    return (
        f"run {found.run!r} would cost {found.forecast:.2f} {found.currency}, above the limit of {limit:g} "
        f"(cost.limit); the dearest part is {dear.rule} with {dear.cost:.2f}: plan less, or raise the limit"
    )


def render_costs(found: Costs) -> str:
    """Write forecast beside actual cost for a terminal."""
    rows = [
        (
            one.rule,
            one.jobs,
            *(_written(value) for value in (one.seconds, one.cost)),
            one.measured_jobs,
            *(_written(value) for value in (one.measured_seconds, one.measured_cost)),
        )
        for one in found.rules
    ]
    headers = ("rule", "jobs", "forecast/s", found.currency, "jobs with a time", "measured/s", found.currency)
    total = f"forecast {_written(found.forecast)} {found.currency} with {found.storage:.4f} of storage"
    return f"{tabulate(rows, headers, disable_numparse=True)}\n\n{total}; so far {found.actual:.4f}\n"


def _written(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


def experiments(records: Iterable[dict[str, Any]], prices: Prices, threads: int) -> list[dict[str, Any]]:
    """Reduce result records to a line each: what was done, how long, at what cost, what was found."""
    return [
        {
            **{key: record[key] for key in ("experiment", "dataset", "method", "budget", "seed")},
            "config_sha256": record["config_sha256"],
            "git_commit": record["git_commit"],
            "device": record["device"],
            "wall_s": record["wall_s"],
            "cost": round(
                record["wall_s"]
                / 3600
                * (prices.core_hour * threads if record["device"] == "cpu" else prices.device_hour),
                6,
            ),
            "currency": prices.currency,
            "metrics": record["metrics"],
            "notes": record["notes"],
        }
        for record in records
    ]


def render_log(lines: list[dict[str, Any]]) -> str:
    """Write the log of experiments as Markdown: a row each, the first metric that has a value beside it."""
    rows = []
    for line in lines:
        value = next(((k, v) for k, v in line["metrics"].items() if v is not None), None)
        rows.append(
            (
                *(line[key] for key in ("experiment", "dataset", "method", "budget", "seed")),
                f"{line['wall_s']:.1f}",
                f"{line['cost']:.4f}",
                "" if value is None else f"{value[0]} {value[1]:.3f}",
                "; ".join(line["notes"]),
            )
        )
    currency = lines[0]["currency"] if lines else ""
    headers = ("experiment", "dataset", "method", "budget", "seed", "s", currency, "result", "notes")
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True) + "\n"
