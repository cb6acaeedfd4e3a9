"""What was planted: collected while the datasets are written, stored beside them."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cldtrans.data.miniature.head import BANANA
from cldtrans.data.miniature.seizure import Seizure

_README = """\
What is planted in this miniature
=================================

Not a dataset: nothing here may be read by anything that trains or predicts.

chbmit_focal.csv   the leading channel of every CHB-MIT seizure, in the format of the table that users supply
                   (case, file, seizure counted from 1 within the file, channels, source, rater)
lags/<dataset>/    one JSON file a seizure: onset and end in seconds, the leading bipolar channel, each
                   channel's delay after it (seconds), the tree of edges along which the discharge travelled
                   (x_target(t) is driven by x_source(t - lag_s)), and discharge over background in dB
broken.csv         files that are broken or odd on purpose, and how
"""


@dataclass
class Truth:
    """Planted facts of all datasets."""

    focal: list[tuple[str, str, int, str]] = field(default_factory=list)
    lags: dict[str, dict[str, object]] = field(default_factory=dict)
    broken: list[tuple[str, str, str]] = field(default_factory=list)

    def add_seizure(self, dataset: str, subject: str, file: str, number: int, seizure: Seizure) -> None:
        """Note seizure `number` (from 1) of a file."""
        name = f"{dataset}/{file.removesuffix('.edf')}-{number}.json"
        self.lags[name] = {"subject": subject, "file": file, "seizure": number, **seizure.truth()}
        if dataset == "chbmit":
            self.focal.append((subject, file, number, BANANA[seizure.lead]))

    def add_broken(self, dataset: str, key: str, kind: str) -> None:
        """Note a file of a dataset that is broken or odd on purpose."""
        self.broken.append((dataset, key, kind))

    def write(self, folder: Path) -> None:
        """Write everything under `folder`."""
        folder.mkdir(parents=True)
        (folder / "README").write_text(_README)
        with (folder / "chbmit_focal.csv").open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["case", "file", "seizure", "channels", "source", "rater"])
            table.writerows([*row, "planted", "miniature"] for row in self.focal)
        with (folder / "broken.csv").open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["dataset", "key", "kind"])
            table.writerows(self.broken)
        for name, content in self.lags.items():
            path = folder / "lags" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=1) + "\n")


def generator(seed: int, dataset: str, *key: int) -> np.random.Generator:
    """Return the random numbers of one item, the same whatever else is written."""
    return np.random.default_rng([seed, *dataset.encode(), 0, *key])
