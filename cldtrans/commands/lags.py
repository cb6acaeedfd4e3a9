"""Who leads whom in a recording, by how many milliseconds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cldtrans.lag.fit.progress import Progress
    from cldtrans.lag.recording import RecordingLags

WIDTH = 100
"""Columns of the line that tells of progress."""


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans lags`."""
    parser.add_argument(
        "recording", type=Path,
        help="any file that mne or wfdb reads (EDF, BDF, EEGLAB, WFDB, FIF, ...), or parcellated BOLD (TSV, "
        "csv, npy, mat, ptseries.nii), of which delays are told, and no edges",
    )  # fmt: skip
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="seconds (default 0)")
    parser.add_argument("--stop", type=float, metavar="S", help="seconds (default: the end)")
    parser.add_argument(
        "--channels", nargs="+", metavar="NAME",
        help="as they are called after referencing (default: the scalp channels, or all if there are none)",
    )  # fmt: skip
    parser.add_argument(
        "--reference", choices=("bipolar", "laplacian", "average", "none"),
        help="default: bipolar for scalp EEG that has neighbouring electrodes, none for anything else",
    )  # fmt: skip
    parser.add_argument(
        "--band", nargs=2, type=float, metavar=("LOW", "HIGH"),
        help="pass band in Hz (default 0.5 40, of BOLD 0.01 0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--tau-max", type=float, metavar="MS",
        help="largest lag searched, in milliseconds (default 100, of BOLD 4000)",
    )  # fmt: skip
    parser.add_argument(
        "--innovation", choices=("laplace", "student", "gaussian"),
        help="density of what is new in each channel (default: laplace for scalp EEG, else gaussian)",
    )  # fmt: skip
    parser.add_argument(
        "--alpha", type=float, default=0.01, help="probability of any false edge (default 0.01)"
    )
    parser.add_argument(
        "--max-order", type=int, default=32, metavar="SAMPLES",
        help="longest own past of a channel; a warning says where more is needed (default 32)",
    )  # fmt: skip
    parser.add_argument(
        "--fast", action="store_true",
        help="stop after what the pretrained model reads, about a second: a first look, not a fit",
    )  # fmt: skip
    parser.add_argument(
        "--every", type=float, metavar="S",
        help="follow the edges through windows that begin every S seconds (lags_over_time.csv, lags.html)",
    )  # fmt: skip
    parser.add_argument(
        "--length", type=float, default=10.0, metavar="S", help="of these windows, seconds (default 10)"
    )
    parser.add_argument(
        "--tr", type=float, metavar="S",
        help="repetition time of BOLD in seconds (default: that of its JSON sidecar, or of the file)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N",
        help="of the numerical libraries; more are slower, often much, beside other work (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER",
        help="for lags.html and the rest (default: lags-<recording> in the current folder)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Read the stretch at once, then fit it, print edges and delays, write tables and figures.

    After Ctrl-C those of what was found by then; with `--fast` those of the reading. Of BOLD only delays are
    told, see `cldtrans.lag.recording.bold`.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C: once the files are written, where the fit had found something.
    """
    import dataclasses
    import time

    from cldtrans.data.formats.parcellated import is_parcellated
    from cldtrans.errors import DataError
    from cldtrans.files import atomic_path
    from cldtrans.lag.recording import cut_window, fit_window, lead_of, with_delays
    from cldtrans.lag.recording.figures import draw
    from cldtrans.lag.recording.lags import TAU_MAX_S, interrupted
    from cldtrans.lag.recording.over_time import over_time
    from cldtrans.lag.recording.page import page
    from cldtrans.lag.recording.report import first_look, fitting, heading, render
    from cldtrans.lag.recording.summary import settings_of, write_csv, write_summary
    from cldtrans.lag.recording.time_figures import lags_against_time
    from cldtrans.lag.recording.window import BAND_HZ
    from cldtrans.machine import limit_threads
    from cldtrans.models.amortised import read_window

    limit_threads(args.threads)
    output = args.output or Path(f"lags-{args.recording.stem}")
    if is_parcellated(args.recording):
        _bold(args, output)
        return
    tau_max_s = TAU_MAX_S if args.tau_max is None else args.tau_max / 1e3
    window = cut_window(
        args.recording,
        args.start,
        args.stop,
        args.channels,
        args.reference,
        tuple(args.band or BAND_HZ),
        args.innovation,
    )
    try:  # before minutes of fitting
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{output}: cannot be made ({error.strerror})") from error
    print(heading(window, tau_max_s), flush=True)
    began = time.monotonic()
    lags: RecordingLags
    if args.fast:
        lags = with_delays(window, read_window(window, tau_max_s), tau_max_s)
        print(f"Read in {time.monotonic() - began:.1f} s, not fitted.\n")
    else:
        try:
            first = with_delays(window, read_window(window, tau_max_s), tau_max_s)
            print(f"\n{first_look(first)}")
        except DataError as error:  # what is too short for the pretrained model can be fitted
            print(f"\nNo first look: {error}\n")
        print(fitting(window), flush=True)
        began = time.monotonic()
        lags = fit_window(
            window, tau_max_s, args.alpha, args.max_order, _show if sys.stderr.isatty() else None
        )
        if sys.stderr.isatty():
            print(f"\r{'':<{WIDTH}}\r", end="", file=sys.stderr, flush=True)
        if not interrupted(lags):
            lags = dataclasses.replace(lags, lead=lead_of(args.recording, window))
        seconds = time.monotonic() - began
        print(f"{'Interrupted after' if interrupted(lags) else 'Fitted in'} {seconds:.0f} s.\n")
    print(render(lags), end="")
    moving = None
    if args.every is not None and not interrupted(lags):
        moving = over_time(lags, args.every, args.length, read_window)
        print(f"\nOver time, windows of {args.length:g} s every {args.every:g} s:")
        print("\n".join(moving.sentences() or ["No change of a lag is flagged."]))
        with atomic_path(output / "lags_over_time.csv") as temporary:
            moving.to_frame().to_csv(temporary, index=False)
    settings = settings_of(lags, args.alpha, args.max_order)
    write_csv(output / "lags.csv", lags, settings)
    write_summary(output / "summary.json", lags, settings, moving)
    with atomic_path(output / "delays.csv") as temporary:
        lags.delays.summary(lags.channels).to_csv(temporary, index=False)
    with atomic_path(output / "lags.html") as temporary:
        temporary.write_text(page(lags, args.recording, settings, moving), encoding="utf-8")
    for name, kind in (("tau.png", "heat_map"), ("graph.png", "graph")):
        with atomic_path(output / name) as temporary:
            draw(lags, kind).savefig(temporary, dpi=160)
    if moving is not None:
        with atomic_path(output / "over_time.png") as temporary:
            lags_against_time(moving).savefig(temporary, dpi=160)
    more = "" if moving is None else ", lags_over_time.csv, over_time.png"
    print(f"\nWritten: {output}/lags.html, lags.csv, delays.csv, summary.json, tau.png, graph.png{more}")
    if interrupted(lags):
        raise KeyboardInterrupt("what was found until then is written")


def _bold(args: argparse.Namespace, output: Path) -> None:
    """Print and write the delays of parcellated BOLD."""
    from cldtrans.lag.recording.bold import BAND_HZ, TAU_MAX_S, bold_delays, render_bold, write_bold

    found = bold_delays(
        args.recording,
        tr_s=args.tr,
        start_s=args.start,
        stop_s=args.stop,
        channels=args.channels,
        band_hz=tuple(args.band or BAND_HZ),
        tau_max_s=TAU_MAX_S if args.tau_max is None else args.tau_max / 1e3,
    )
    print(render_bold(found), end="")
    write_bold(output, found)
    print(f"\nWritten: {output}/parcels.csv, delays.csv, summary.json")


def _show(progress: Progress) -> None:
    """Tell how far the fit is, in place of what was told before."""
    line = (
        f"round {progress.n_rounds}, {progress.n_edges} edges, {progress.elapsed_s:.0f} s; about "
        f"{progress.left_s:.0f} s more; Ctrl-C: what is found so far"
    )
    print(f"\r{line:<{WIDTH}}", end="", file=sys.stderr, flush=True)
