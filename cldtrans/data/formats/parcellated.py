"""Parcellated BOLD: one time series a parcel, as TSV, npy, MATLAB or CIFTI ptseries, with its sidecar.

Tables and arrays are volumes by parcels, as nilearn, XCP-D and BIDS derivatives write them. The repetition
time and whether slices were corrected for their times stand in the sidecar, `<name>.json`; a ptseries holds
its own repetition time. CIFTI-2 is read from its definition (NITRC, Glasser et al., version 2 of 2014): a
NIfTI-2 file whose XML extension names the parcels.
"""

from __future__ import annotations

import gzip
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from cldtrans.errors import DataError

SUFFIXES = (".tsv", ".csv", ".npy", ".mat", ".ptseries.nii")
_CIFTI_CODE = 32
_DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}  # of NIfTI
_SCALE = {"SECOND": 1.0, "MSEC": 1e-3}


@dataclass(frozen=True)
class Parcellated:
    """Time series of parcels.

    Attributes
    ----------
    data : array [C, T] of float64
        Of each parcel; NaN where a parcel was lost.
    names : list of str
        Of the parcels.
    tr_s : float
        Repetition time, seconds.
    slices_corrected : bool or None
        Whether slices were brought to one time; None: not known.
    """

    data: np.ndarray
    names: list[str]
    tr_s: float
    slices_corrected: bool | None


def is_parcellated(path: Path) -> bool:
    """Tell by its name whether a file may hold parcellated series."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def read_parcellated(path: str | Path, tr_s: float | None = None) -> Parcellated:
    """Read a file.

    Parameters
    ----------
    path : str or Path
        Whose name ends in one of `SUFFIXES`.
    tr_s : float, optional
        Repetition time in seconds where neither sidecar nor file says it; it has to agree with them.

    Raises
    ------
    DataError
        For another format, a table or array of another form, or an unknown repetition time.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    name, own_tr_s, names = path.name.lower(), None, None
    if name.endswith(".ptseries.nii"):
        data, names, own_tr_s = _ptseries(path)
    elif name.endswith((".tsv", ".csv", ".tsv.gz", ".csv.gz")):
        data, names = _table(path)
    elif name.endswith(".npy"):
        data = _volumes(path, _npy(path))
    elif name.endswith(".mat"):
        data = _volumes(path, _matlab(path))
    else:
        raise DataError(f"{path}: expected parcellated series in a file of {', '.join(SUFFIXES)}")
    side = _sidecar(path)
    given = [value for value in (tr_s, side.get("RepetitionTime"), own_tr_s) if value is not None]
    if not given and side.get("SamplingFrequency"):
        given = [1 / float(side["SamplingFrequency"])]
    if not given:
        raise DataError(
            f"{path}: the repetition time is not known: give --tr, or RepetitionTime in a sidecar"
        )
    if max(given) - min(given) > 1e-3 * min(given) or min(given) <= 0:
        raise DataError(f"{path}: repetition times of {', '.join(f'{one:g} s' for one in given)} disagree")
    corrected = side.get("SliceTimingCorrected")
    labels = [f"parcel-{k + 1:03d}" for k in range(len(data))] if names is None else names
    return Parcellated(data, labels, float(given[0]), None if corrected is None else bool(corrected))


def _sidecar(path: Path) -> dict[str, Any]:
    name = path.name.removesuffix(".gz")
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        name = name.removesuffix(suffix)
    sidecar = path.with_name(f"{name}.json")
    if not sidecar.is_file():
        return {}
    try:
        content = json.loads(sidecar.read_text())
    except ValueError as error:
        raise DataError(f"{sidecar}: not JSON ({error}); correct or remove it") from None
    return content if isinstance(content, dict) else {}


def _table(path: Path) -> tuple[np.ndarray, list[str] | None]:
    """Parcels [C, T] and their names; None where the table has no header."""
    import pandas as pd

    separator = "\t" if ".tsv" in path.name.lower() else ","
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            cells = file.readline().rstrip("\r\n").split(separator)
        headed = not all(_is_number(cell) for cell in cells)
        table = pd.read_csv(path, sep=separator, header=0 if headed else None, na_values=["n/a"])
        values = table.to_numpy(dtype=float)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: expected a table of numbers, volumes by parcels ({reason})") from None
    names = [str(column).strip().strip('"') for column in table.columns] if headed else None
    return _volumes(path, values), names


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip('"') or "nan")
    except ValueError:
        return cell.strip() == "n/a"
    return True


def _npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not an array of numbers ({error})") from None


def _matlab(path: Path) -> np.ndarray:
    """Return the one matrix of numbers of a file up to version 7."""
    from scipy.io import loadmat

    try:
        content = loadmat(path)
    except NotImplementedError:
        raise DataError(f"{path}: MATLAB 7.3 (HDF5) is not read; save it with -v7") from None
    except Exception as error:  # scipy raises whatever the bytes provoke
        raise DataError(f"{path}: not a MATLAB file ({' '.join(str(error).split())})") from None
    found = {
        name: value
        for name, value in content.items()
        if not name.startswith("__")
        and isinstance(value, np.ndarray)
        and value.ndim == 2
        and min(value.shape) > 1
        and value.dtype.kind in "fiu"
    }
    if len(found) != 1:
        raise DataError(
            f"{path}: expected one matrix of numbers, found {', '.join(sorted(found)) or 'none'}; "
            "save it alone"
        )
    return next(iter(found.values()))


def _volumes(path: Path, values: np.ndarray) -> np.ndarray:
    """Turn volumes by parcels [T, C] into [C, T]."""
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: {values.dtype} of shape {values.shape}; expected numbers, volumes by parcels"
        )
    if values.shape[0] < 2 or values.shape[1] < 1:
        raise DataError(f"{path}: {values.shape[0]} volumes of {values.shape[1]} parcels; expected more")
    return np.ascontiguousarray(values.T, dtype=float)


def _ptseries(path: Path) -> tuple[np.ndarray, list[str], float]:
    """Parcels [C, T], their names, and the repetition time in seconds."""
    content = path.read_bytes()
    order = "<" if content[:4] == struct.pack("<i", 540) else ">"
    if len(content) < 544 or struct.unpack(f"{order}i", content[:4])[0] != 540 or content[4:8] != b"n+2\0":
        raise DataError(f"{path}: not NIfTI-2, which CIFTI-2 files are")
    code = struct.unpack(f"{order}h", content[12:14])[0]
    shape = struct.unpack(f"{order}8q", content[16:80])
    start, slope, intercept = struct.unpack(f"{order}qdd", content[168:192])
    if code not in _DTYPES or shape[0] != 6 or shape[1:5] != (1, 1, 1, 1):
        raise DataError(
            f"{path}: type {code}, dimensions {shape[1 : shape[0] + 1]}; expected a CIFTI-2 matrix"
        )
    names, tr_s, parcels_first = _maps(path, _extension(path, content, order, start))
    rows, columns = shape[6], shape[5]  # the fastest index is the fifth
    kind = np.dtype(f"{order}{_DTYPES[code]}")
    if len(content) < start + rows * columns * kind.itemsize:
        raise DataError(f"{path}: cut off: expected {rows} by {columns} numbers after byte {start}")
    values = np.frombuffer(content, kind, rows * columns, start).reshape(rows, columns).astype(float)
    if slope not in (0.0, 1.0) or (intercept and slope):
        values = values * slope + intercept
    data = values if parcels_first else values.T
    if len(data) != len(names):
        raise DataError(f"{path}: {len(names)} parcels are named, but the matrix has {len(data)}")
    return np.ascontiguousarray(data), names, tr_s


def _extension(path: Path, content: bytes, order: str, end: int) -> bytes:
    """Return the XML among the extensions of the header."""
    place = 544
    while content[540] and place + 8 <= end:
        size, code = struct.unpack(f"{order}ii", content[place : place + 8])
        if code == _CIFTI_CODE:
            return content[place + 8 : place + size].rstrip(b"\0")
        if size < 8:
            break
        place += size
    raise DataError(f"{path}: no CIFTI extension in the header; expected the XML that names the parcels")


def _maps(path: Path, xml: bytes) -> tuple[list[str], float, bool]:
    """Names of parcels, repetition time, and whether parcels are the rows of the matrix."""
    if b"<!ENTITY" in xml:
        raise DataError(f"{path}: the CIFTI extension defines entities; they are not followed")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: the CIFTI extension is not XML ({error})") from None
    names: list[str] = []
    tr_s, dimensions = None, {}
    for found in root.iter("MatrixIndicesMap"):
        kind = found.get("IndicesMapToDataType", "").removeprefix("CIFTI_INDEX_TYPE_")
        dimensions[kind] = found.get("AppliesToMatrixDimension", "").split(",")
        if kind == "PARCELS":
            names = [parcel.get("Name", "") for parcel in found.iter("Parcel")]
        elif kind == "SERIES" and found.get("SeriesUnit", "SECOND") in _SCALE:
            scale = _SCALE[found.get("SeriesUnit", "SECOND")] * 10.0 ** int(found.get("SeriesExponent", "0"))
            tr_s = float(found.get("SeriesStep", "nan")) * scale
    if not names or tr_s is None or not tr_s > 0:
        raise DataError(f"{path}: expected a ptseries, parcels over seconds; found {', '.join(dimensions)}")
    return names, tr_s, dimensions["SERIES"] == ["0"]
