"""Files that mne reads, with sizes, types and names that are none: refused before it believes them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from foreign_files import write_set, write_vhdr
from toys.paths import MIRROR
from toys.recordings import RATE, noise, raw_of

from cldtrans.data.formats.before_mne import check
from cldtrans.data.formats.matlab_file import check_matlab_file
from cldtrans.data.recording import open_recording
from cldtrans.errors import DataError

NAMES = ["C3", "Fp1", "EMG"]


def refused(path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        open_recording(path)
    assert str(path) in str(error.value) and str(error.value).isprintable()


@pytest.mark.parametrize("compressed", [False, True])
def test_all_kinds_of_matlab_values_pass(compressed: bool, tmp_path: Path) -> None:
    from scipy.sparse import csc_array

    cells = np.array([["text", np.arange(3)], [1j, {"a": [1, "b"]}]], dtype=object)
    values = {"cells": cells, "empty": [], "blank": "", "sparse": csc_array(np.eye(3)), "whole": np.int8(3)}
    values |= {"struct": {"x": 1.5, "deep": {"y": {"z": "µV"}}}, "flag": np.array([True, False])}
    scipy.io.savemat(tmp_path / "all.mat", values, do_compression=compressed)
    check_matlab_file(tmp_path / "all.mat")


@pytest.mark.data
@pytest.mark.skipif(not MIRROR.is_dir(), reason="no real recordings at ../shared/physionet")
def test_real_eeglab_files_pass() -> None:
    paths = sorted(MIRROR.rglob("*.set"))
    assert paths
    for path in paths:
        check(path)


def test_a_type_that_does_not_exist_does_not_end_the_process(tmp_path: Path) -> None:
    path = tmp_path / "r.set"
    write_set(path, noise(3, 2), NAMES, RATE)
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<II", 7, 3 * 400 * 4))  # the data: float32, bytes
    content[at : at + 4] = struct.pack("<I", 60_000)
    path.write_bytes(content)
    refused(path, r"expected a MATLAB file, found type 60000 for numbers at byte \d+; .* fetch it again")
    content[at : at + 8] = struct.pack("<II", 7, 2**31)
    path.write_bytes(content)
    refused(path, r"expected a MATLAB file, found 2147483648 bytes announced at byte \d+")


@pytest.mark.parametrize("content", [b"", b"MATLAB", b"x" * 500, bytes(500)])
def test_what_is_no_matlab_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "r.set").write_bytes(content)
    refused(tmp_path / "r.set", "no MATLAB 5 or 7.3 header")


def test_compressed_data_that_grow_without_measure(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "r.set", {"EEG": {"data": np.zeros((3, 4_000_000))}}, do_compression=True)
    assert (tmp_path / "r.set").stat().st_size < 500_000
    refused(tmp_path / "r.set", "compressed data that do not end")


def test_tags_of_fif_lie_inside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r_raw.fif"
    raw_of(noise(3, 2), NAMES).save(path, verbose="ERROR")
    content = path.read_bytes()
    open_recording(path)
    at, following = 0, 0
    places = []
    while following != -1:
        places.append(at)
        _, _, size, following = struct.unpack_from(">iiii", content, at)
        at += 16 + size
    for place in places[:: len(places) // 10]:
        for field, value in ((8, 2**30), (8, -5), (12, -7), (12, places[0] or 1)):
            damaged = bytearray(content)
            struct.pack_into(">i", damaged, place + field, value)
            path.write_bytes(damaged)
            refused(path, r"expected a FIF file of tags one behind the other, found")


@pytest.mark.parametrize("count", ["900719925474099", "40", "-1", "three", "٣"])
def test_brainvision_has_as_many_channels_as_its_header_describes(count: str, tmp_path: Path) -> None:
    path = tmp_path / "r.vhdr"
    write_vhdr(path, noise(3, 2), NAMES, RATE)
    assert open_recording(path).names == NAMES
    path.write_text(path.read_text().replace("NumberOfChannels=3", f"NumberOfChannels={count}"))
    refused(path, "NumberOfChannels: expected a number of channels that the header describes")


@pytest.mark.parametrize("name", ["../b/r.eeg", "/tmp/r.eeg", "..\\b\\r.eeg", ".."])
@pytest.mark.parametrize("field", ["DataFile", "MarkerFile"])
def test_brainvision_files_elsewhere_are_not_opened(field: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "r.vhdr"
    write_vhdr(path, noise(3, 2), NAMES, RATE)
    end = "eeg" if field == "DataFile" else "vmrk"
    path.write_text(path.read_text().replace(f"{field}=r.{end}", f"{field}={name}"))
    refused(path, "expected names of files in the same folder")


def test_eeglab_samples_elsewhere_are_not_read(tmp_path: Path) -> None:
    x = noise(3, 2)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        x.T.astype("<f4").tofile(tmp_path / folder / "r.fdt")
    path = tmp_path / "a" / "r.set"
    write_set(path, x, NAMES, RATE, {"data": "r.fdt"})
    np.testing.assert_allclose(open_recording(path).read(0, 400), x, rtol=1e-5)
    for name in ("../b/r.fdt", str(tmp_path / "b" / "r.fdt")):
        write_set(path, x, NAMES, RATE, {"data": name})
        refused(path, "expected its samples in the same folder")


def test_infinite_values_are_gaps(tmp_path: Path) -> None:
    x = noise(3, 2)
    x[0, 10], x[1, 20] = np.inf, 1e36
    write_vhdr(tmp_path / "r.vhdr", x, NAMES, RATE)
    data = open_recording(tmp_path / "r.vhdr").read(0, 400)
    assert np.isnan(data[0, 10]) and np.isnan(data).sum() == 1
