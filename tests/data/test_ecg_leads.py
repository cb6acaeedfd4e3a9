"""The twelve leads are found by name, in any order."""

import numpy as np
import pytest

from cldtrans.data.miniature.wfdb_writer import write_record
from cldtrans.data.montages.ecg_leads import LEADS, read_twelve_leads, record_of_file
from cldtrans.errors import DataError


def test_leads_in_another_order_and_under_other_capitals(tmp_path):
    rng = np.random.default_rng(0)
    digital = rng.integers(-2000, 2000, (12, 500))
    order = rng.permutation(12)
    write_record(tmp_path / "whole", digital, LEADS, 500, gain=1000.0)
    write_record(tmp_path / "mixed", digital[order], [LEADS[k].upper() for k in order], 500, gain=1000.0)
    for name in ("whole", "mixed"):
        signal = read_twelve_leads(tmp_path / name)
        assert signal.rate_hz == 500 and signal.mask.all()
        np.testing.assert_allclose(signal.data, digital / 1000, atol=1e-6)


def test_leads_that_are_not_there_are_masked_and_zero(tmp_path):
    digital = np.arange(1, 61).reshape(3, 20)
    write_record(tmp_path / "three", digital, ["V1", "resp", "II"], 250, gain=10.0)
    signal = read_twelve_leads(tmp_path / "three")
    assert [lead for lead, there in zip(LEADS, signal.mask, strict=True) if there] == ["II", "V1"]
    np.testing.assert_allclose(signal.data[[1, 6]], digital[[2, 0]] / 10)
    assert not signal.data[~signal.mask].any()
    write_record(tmp_path / "none", digital, ["a", "b", "c"], 250, gain=10.0)
    with pytest.raises(DataError, match="none: none of the twelve leads found in a, b, c"):
        read_twelve_leads(tmp_path / "none")


def test_a_record_is_its_files_without_their_endings():
    assert record_of_file("p10/p1/40.dat") == record_of_file("p10/p1/40.hea") == "p10/p1/40"
    assert record_of_file("RECORDS") is None and record_of_file("table.csv") is None
