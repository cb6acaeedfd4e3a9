"""Jobs, hours, bytes and days that a config will cost."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans estimate`."""
    parser.add_argument(
        "--config", required=True, nargs="+", type=Path, metavar="FILE",
        help="results/<run>/config.json, or YAML overlays on config/config.yaml",
    )  # fmt: skip
    parser.add_argument("--size", help="another size of the network than the config's, one of its `sizes`")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--step-ms", type=float, help="measured time of one stage-1 step on all devices")
    pace.add_argument(
        "--calibrate", action="store_true",
        help="measure it: a few steps on synthetic windows on this machine's device; kept for the next call",
    )  # fmt: skip
    parser.add_argument("--devices", type=int, default=1, help="GPUs that train side by side (default 1)")
    parser.add_argument("--cores", type=int, help="for preprocessing (default: those of this machine)")
    parser.add_argument("--download-mb-s", type=float, default=50.0, help="assumed transfer rate (50)")
    parser.add_argument(
        "--samples-m-s", type=float, default=10.0, help="assumed preprocessing rate a core (10)"
    )
    parser.add_argument("--job-min", type=float, default=5.0, help="assumed minutes of other jobs (5)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")


def run(args: argparse.Namespace) -> None:
    """Print the estimate, after a calibration where asked."""
    import os

    from cldtrans import config
    from cldtrans.files import write_json
    from cldtrans.planning.cost import (
        Pace,
        calibrated_step_ms,
        estimate_cost,
        fallbacks,
        measured_step_ms,
        render,
        render_fit,
    )

    settings = config.load_any(args.config)
    if args.size is not None:
        settings = config.resized(settings, args.size)
    if args.calibrate:
        from cldtrans.planning.calibrate import calibrate

        calibrate(settings, args.devices)
    step_ms, origin = args.step_ms, "as given"
    if step_ms is None and not args.calibrate:
        step_ms, origin = measured_step_ms(settings), "measured by this run's first finished pretraining"
    if step_ms is None:
        step_ms, origin = calibrated_step_ms(settings, args.devices) or (None, "")
    cores = args.cores or os.cpu_count() or 1
    pace = Pace(step_ms, origin, args.devices, cores, args.download_mb_s, args.samples_m_s, args.job_min)
    result = estimate_cost(settings, pace)
    print(render(result), end="")
    if settings.source.miniature is None:
        print(f"\n{render_fit(result, fallbacks(settings, pace))}", end="")
    if args.json:
        write_json(args.json, result.to_json())
