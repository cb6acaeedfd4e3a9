"""Mean series of an atlas's parcels, in nilearn's environment.

    python parcellate.py bold.nii.gz atlas.nii.gz output.tsv simple|none [names.txt]

Writes output.tsv, volumes by parcels, a column for each label of the atlas in its order, `n/a` where a parcel
has no voxel in the run; and output.json with RepetitionTime, SliceTimingCorrected (where the run's sidecar
says it), StartTime (where fMRIPrep marked first volumes as not steady, these are left out) and the confounds
regressed out.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn.maskers import NiftiLabelsMasker


def sidecar_of(bold: Path) -> dict:
    """Return the content of a run's sidecar, {} without one."""
    name = bold.name.removesuffix(".gz").removesuffix(".nii")
    path = bold.with_name(f"{name}.json")
    return json.loads(path.read_text()) if path.is_file() else {}


def names_of(labels: list[int], path: str) -> list[str]:
    """Return a name for each label, from a table of labels and names where there is one."""
    if not path:
        return [f"label-{label}" for label in labels]  # numbers alone would be no header
    table = pd.read_csv(path, sep="\t", header=None)
    known = dict(zip(table[0], table[1].astype(str), strict=True))
    absent = [label for label in labels if label not in known]
    if absent:
        raise SystemExit(f"{path}: no name for label {absent[0]}")
    return [known[label] for label in labels]


def main(bold: Path, atlas: Path, output: Path, strategy: str, names: str = "") -> None:
    """Write the table and its sidecar, complete or not at all."""
    image: Any = nibabel.load(bold)
    side = sidecar_of(bold)
    if image.ndim != 4 or image.shape[3] < 2:
        raise SystemExit(f"{bold}: shape {image.shape}; expected volumes over time")
    tr_s = float(side.get("RepetitionTime", image.header.get_zooms()[3]))
    if not tr_s > 0:
        raise SystemExit(f"{bold}: no repetition time in header or sidecar")
    confounds, steady, used = None, None, []
    if strategy == "simple":
        confounds, steady = load_confounds_strategy(str(bold), denoise_strategy="simple")
        used = list(confounds.columns)
    masker = NiftiLabelsMasker(str(atlas), resampling_target="data", standardize=None, t_r=tr_s)
    series = masker.fit_transform(image, confounds=confounds, sample_mask=steady)
    regions: Any = nibabel.load(atlas)
    labels = sorted({int(v) for v in np.unique(np.asarray(regions.dataobj)) if v > 0})
    table = pd.DataFrame(np.nan, index=range(len(series)), columns=labels)
    for column, label in masker.region_ids_.items():
        if isinstance(column, int) and int(label) in table:
            table[int(label)] = series[:, column]
    first = int(steady[0]) if steady is not None and len(steady) else 0
    record = {"RepetitionTime": tr_s, "StartTime": first * tr_s, "Confounds": used, "Atlas": atlas.name}
    if "SliceTimingCorrected" in side:
        record["SliceTimingCorrected"] = bool(side["SliceTimingCorrected"])
    table.columns = names_of(labels, names)
    temporary = output.with_name(f".{output.name}.{os.getpid()}.part")
    table.to_csv(temporary, sep="\t", index=False, na_rep="n/a", float_format="%.9g")
    output.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    temporary.replace(output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:6])
