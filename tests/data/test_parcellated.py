"""Parcellated BOLD: every format says the same, and agrees with nibabel and scipy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cldtrans.data.formats.parcellated import is_parcellated, read_parcellated
from cldtrans.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 50))
NAMES = ["Vis_1", "Som_2", "Default_3", "Cont_4"]


def written(folder: Path, kind: str) -> Path:
    path = folder / f"sub-01_task-rest_timeseries{kind}"
    if kind in (".tsv", ".csv"):
        separator = "\t" if kind == ".tsv" else ","
        rows = [separator.join(NAMES), *(separator.join(f"{v:.17g}" for v in row) for row in X.T)]
        path.write_text("\n".join(rows) + "\n")
    elif kind == ".npy":
        np.save(path, X.T)
    else:
        from scipy.io import savemat

        savemat(path, {"ts": X.T, "tr": 2.0})
    (folder / "sub-01_task-rest_timeseries.json").write_text(
        json.dumps({"RepetitionTime": 2.0, "SliceTimingCorrected": False})
    )
    return path


@pytest.mark.parametrize("kind", [".tsv", ".csv", ".npy", ".mat"])
def test_every_format_gives_parcels_by_volumes_and_what_the_sidecar_says(kind, tmp_path):
    path = written(tmp_path, kind)
    found = read_parcellated(path)
    assert is_parcellated(path) and np.array_equal(found.data, X)
    assert found.tr_s == 2.0 and found.slices_corrected is False
    named = NAMES if kind in (".tsv", ".csv") else [f"parcel-{k:03d}" for k in range(1, 5)]
    assert found.names == named
    with pytest.raises(DataError, match=r"repetition times of 1\.5 s, 2 s disagree"):
        read_parcellated(path, 1.5)


def test_a_table_without_header_and_a_lost_parcel(tmp_path):
    path = tmp_path / "run.tsv"
    path.write_text("\n".join(f"{a:.9g}\tn/a" for a in X[0]) + "\n")
    found = read_parcellated(path, 0.8)
    assert found.data[0] == pytest.approx(X[0]) and np.isnan(found.data[1]).all()
    assert found.slices_corrected is None and found.tr_s == 0.8
    with pytest.raises(DataError, match="give --tr"):
        read_parcellated(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_ptseries_is_that_of_nibabel(order, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    from nibabel import cifti2

    voxels = np.arange(12).reshape(4, 3)
    parcels = cifti2.ParcelsAxis(
        NAMES, [v[None] for v in voxels], [{}] * 4, affine=np.eye(4), volume_shape=(20, 20, 20)
    )
    series = cifti2.SeriesAxis(0, 0.72, X.shape[1])
    image = cifti2.Cifti2Image(X.T.astype("f4"), header=cifti2.Cifti2Header.from_axes((series, parcels)))
    header = nibabel.Nifti2Header(endianness=order)
    header.set_data_dtype(np.float32)
    image = cifti2.Cifti2Image(X.T.astype("f4"), image.header, nifti_header=header)
    path = tmp_path / "rest.ptseries.nii"
    image.to_filename(path)
    found, theirs = read_parcellated(path), nibabel.load(path)
    assert np.array_equal(found.data, np.asarray(theirs.dataobj).T)
    assert found.names == list(theirs.header.get_axis(1).name) == NAMES
    assert found.tr_s == pytest.approx(theirs.header.get_axis(0).step)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.tsv", b"x\ty\n1\tb\n", "a table of numbers"),
        ("a.npy", b"no", "not an array"),
        ("a.mat", b"no", "not a MATLAB file"),
        ("a.ptseries.nii", b"no", "not NIfTI-2"),
        ("a.tsv", b"x\ty\n1\t2\n", "1 volumes of 2 parcels"),
        ("a.edf", b"", "expected parcellated series"),
    ],
)
def test_what_is_none_is_refused_in_a_line(name, content, says, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_parcellated(tmp_path / name, 2.0)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    from nibabel import cifti2

    parcels = cifti2.ParcelsAxis(
        ["a", "b"], [np.array([[0, 0, 0]]), np.array([[1, 0, 0]])], [{}] * 2, np.eye(4), (5, 5, 5)
    )
    axes = (cifti2.SeriesAxis(0, 2.0, 9), parcels)
    image = cifti2.Cifti2Image(np.zeros((9, 2), "f4"), header=cifti2.Cifti2Header.from_axes(axes))
    image.to_filename(tmp_path / "whole.ptseries.nii")
    content = (tmp_path / "whole.ptseries.nii").read_bytes()
    (tmp_path / "cut.ptseries.nii").write_bytes(content[:-4])
    with pytest.raises(DataError, match="cut off"):
        read_parcellated(tmp_path / "cut.ptseries.nii")
    assert nibabel.load(tmp_path / "whole.ptseries.nii").shape == (9, 2)
