"""Volumes to parcels by nilearn, in its own environment; the means are those of the voxels."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from cldtrans.cli import main
from cldtrans.data import fmri
from cldtrans.data.formats.parcellated import read_parcellated


def test_without_nilearn_a_line_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fmri, "PYTHON", tmp_path / "nowhere")
    assert main(["parcellate", "bold.nii", "atlas.nii", str(tmp_path / "x.tsv")]) == 2
    assert "make setup-fmri" in capsys.readouterr().err


def test_a_failure_is_told_in_its_last_line(tmp_path, monkeypatch, capsys):
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('no volumes here')")
    monkeypatch.setattr(fmri, "SCRIPT", script)
    monkeypatch.setattr(fmri, "PYTHON", Path(sys.executable))
    assert main(["parcellate", "bold.nii", "atlas.nii", str(tmp_path / "x.tsv")]) == 2
    assert "bold.nii: cannot be parcellated: no volumes here" in capsys.readouterr().err


def test_parcels_are_means_of_voxels_and_lost_ones_keep_their_column(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    if not fmri.PYTHON.exists():
        pytest.skip("no .venv-fmri: make setup-fmri")
    rng = np.random.default_rng(0)
    volumes = rng.normal(100, 1, (4, 4, 4, 12)).astype("f4")
    atlas = np.zeros((4, 4, 4), dtype="i2")
    atlas[0], atlas[2] = 3, 7
    space = np.diag([3.0, 3.0, 3.0, 1.0])
    image = nibabel.Nifti1Image(volumes, space)
    image.header.set_zooms((3, 3, 3, 2.5))
    nibabel.save(image, tmp_path / "run_bold.nii.gz")
    nibabel.save(nibabel.Nifti1Image(atlas, space), tmp_path / "atlas.nii.gz")
    (tmp_path / "run_bold.json").write_text(json.dumps({"SliceTimingCorrected": False}))
    (tmp_path / "names.txt").write_text("3\tLeft\n7\tRight\n")
    output = tmp_path / "run_timeseries.tsv"
    given = [str(tmp_path / "run_bold.nii.gz"), str(tmp_path / "atlas.nii.gz"), str(output)]
    assert main(["parcellate", *given, "--names", str(tmp_path / "names.txt"), "--confounds", "none"]) == 0
    found = read_parcellated(output)
    assert found.names == ["Left", "Right"] and found.tr_s == 2.5 and found.slices_corrected is False
    assert found.data[0] == pytest.approx(volumes[0].mean((0, 1)), rel=1e-5)
    assert found.data[1] == pytest.approx(volumes[2].mean((0, 1)), rel=1e-5)
    atlas[:], atlas[0], atlas[3, 3, 3] = 0, 3, 9
    wide = np.zeros((8, 4, 4), dtype="i2")
    wide[:4], wide[7] = atlas, 12  # label 12 lies outside the run
    nibabel.save(nibabel.Nifti1Image(wide, space), tmp_path / "atlas.nii.gz")
    assert main(["parcellate", *given, "--confounds", "none"]) == 0
    found = read_parcellated(output)
    assert found.names == ["label-3", "label-9", "label-12"] and np.isnan(found.data[2]).all()
    assert found.data[1] == pytest.approx(volumes[3, 3, 3], rel=1e-5)
