"""Volumes of fMRI to time series of parcels, by nilearn in an environment of its own.

nilearn asks for a newer `packaging` than snakemake allows, so `make setup-fmri` puts it into `.venv-fmri`.
The module `parcellate` of this package is the script that runs there, one run of a scanner at a time.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from cldtrans.errors import ConfigError, DataError

PYTHON = Path(".venv-fmri/bin/python")  # from the folder of the workflow
SCRIPT = Path(__file__).with_name("parcellate.py")


def parcellate(
    bold: Path, atlas: Path, output: Path, names: Path | None = None, confounds: str = "simple"
) -> None:
    """Write the parcels' series of one run as a table with its sidecar, which `read_parcellated` reads.

    Parameters
    ----------
    bold : Path
        Volumes, of fMRIPrep's derivatives for confounds to be found; its sidecar says whether slices were
        brought to one time.
    atlas : Path
        Labels in the same space; each label has its column, whatever parcels are lost.
    output : Path
        The table, `.tsv`; the sidecar is put beside it.
    names : Path, optional
        Table without header: label, name, and more; default: `label-<number>`.
    confounds : one of "simple", "none"
        Strategy of nilearn's `load_confounds_strategy`; "none": nothing is regressed out.

    Raises
    ------
    ConfigError
        Where nilearn is not installed.
    DataError
        Where it fails; its last line is quoted.
    """
    if not PYTHON.exists():
        raise ConfigError("volumes of fMRI need nilearn in an environment of its own: run make setup-fmri")
    command = [str(PYTHON), str(SCRIPT), str(bold), str(atlas), str(output), confounds, str(names or "")]
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    output.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"{bold}: cannot be parcellated: {last}")
