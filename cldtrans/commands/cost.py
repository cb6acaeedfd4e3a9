"""What a run costs: forecast, gate, and what its jobs have cost, with a log of its experiments."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans cost`."""
    parser.add_argument(
        "--config", required=True, nargs="+", type=Path, metavar="FILE",
        help="results/<run>/config.json, or YAML overlays on config/config.yaml",
    )  # fmt: skip
    parser.add_argument("--limit", type=float, help="exit with 2 where the forecast is above it")
    parser.add_argument(
        "--devices", type=int, help="GPUs that training is paid on, 0: cores (default: cost.devices)"
    )
    parser.add_argument(
        "--job-min", type=float, help="assumed minutes of a job without a time (default: cost.job_min)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="for cost.json, experiments.jsonl and experiments.md"
    )


def run(args: argparse.Namespace) -> None:
    """Print the forecast beside what was measured; write the log of experiments where asked."""
    import json

    from cldtrans import config
    from cldtrans.errors import ConfigError
    from cldtrans.files import atomic_path, write_json
    from cldtrans.planning.plan import Plan
    from cldtrans.planning.prices import (
        costs,
        experiments,
        pace_of,
        read_prices,
        refusal,
        render_costs,
        render_log,
    )
    from cldtrans.provenance import project_folder
    from cldtrans.scoring.summary import read_results

    settings = config.load_any(args.config)
    prices = read_prices(project_folder() / settings.cost.prices)
    devices = settings.cost.devices if args.devices is None else args.devices
    job_min = settings.cost.job_min if args.job_min is None else args.job_min
    found = costs(settings, prices, pace_of(settings, devices, job_min), devices=devices)
    print(render_costs(found), end="")
    if args.output:
        done = [path for path in Plan(settings).results() if Path(path).is_file()]
        lines = experiments(read_results(done), prices, settings.threads)
        args.output.mkdir(parents=True, exist_ok=True)
        write_json(args.output / "cost.json", found.to_json())
        with atomic_path(args.output / "experiments.jsonl") as temporary:
            temporary.write_text("".join(f"{json.dumps(line, sort_keys=True)}\n" for line in lines))
        with atomic_path(args.output / "experiments.md") as temporary:
            temporary.write_text(render_log(lines))
    limit = settings.cost.limit if args.limit is None else args.limit
    if limit is not None and (reason := refusal(found, limit)):
        raise ConfigError(reason)
