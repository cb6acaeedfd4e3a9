"""Who leads an intracranial seizure, against the onset zone that clinicians marked.

    python benchmarks/focal_zone.py FOLDER [--checkpoint MODEL] [--write]

FOLDER holds electrocorticograms as the set `ecog` of config/config.yaml has them, MODEL is pretrained. The
same two seconds are cut in two ways. `--write` puts the table into docs/focal_lead.md.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from report import DOCS, add_write_option, publish

from cldtrans.config import load_any
from cldtrans.data.intracranial import ZoneSet
from cldtrans.evaluation.cases import make_readouts, zone_cases
from cldtrans.evaluation.focal_lead import grade_zones
from cldtrans.machine import limit_threads

PAGE = DOCS / "focal_lead.md"
CUTS = {"2 of 1 s": {}, "1 of 2 s": {"window_s": 2.0, "onset_windows": 1}}
"""The config's, and another one that holds the same two seconds."""
COLUMNS = {"top-1": "top1", "top-3": "top3", "top-5": "top5", "AUROC of the zone": "zone_auroc"}
METHODS = {
    "single_source": "single source",
    "cldtrans": "network",
    "gcc_phat": "GCC-PHAT",
    "line_length": "line length",
}


def main() -> None:
    """Score every method on both cuts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--checkpoint", type=Path)
    add_write_option(parser, PAGE)
    args = parser.parse_args()
    limit_threads(1)
    config = load_any([DOCS.parent / "config" / "config.yaml"])
    settings = config.zeroshot.intracranial["ecog"].model_copy(update={"folder": args.folder})
    rows, remark = [], ""
    for cut, changes in CUTS.items():
        zones = ZoneSet("ecog", settings.model_copy(update=changes))
        for method, shown in METHODS.items():
            if method == "cldtrans" and args.checkpoint is None:
                continue
            readouts = make_readouts(config, method, zones.modality, args.checkpoint, 1)
            (case,) = zone_cases(zones.seizures, readouts, zones.rate_hz)
            for readout, score in case.scores.items():
                if readout == "line_length":
                    continue
                scores = grade_zones([replace(case, scores={"": score})])
                best = [case.channels[c] for c in np.flatnonzero(score == score.max())]
                rows.append(
                    {
                        "windows": cut,
                        "method": f"{shown}, {readout}" if readout else shown,
                        "named first": ", ".join(best[:3]) + (", ..." if len(best) > 3 else ""),
                        **{title: f"{scores.metrics[metric]:.2f}" for title, metric in COLUMNS.items()},
                    }
                )
            zone = sorted(case.channels[c] for c in (case.truth or [set()])[0])
            chance = ", ".join(f"{scores.chance[metric]:.2f}" for metric in COLUMNS.values())
            known = f"{len(case.channels)} channels, zone: {', '.join(zone)}"
            remark = f"n = 1 seizure, {known}. Chance of the four columns: {chance}."
    publish("focal-zone", pd.DataFrame(rows), args.write, remark, PAGE)


if __name__ == "__main__":
    main()
