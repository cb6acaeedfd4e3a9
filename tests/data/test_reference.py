"""References of scalp channels: sums by hand, names as they are formed, and what cannot be formed."""

import numpy as np
import pytest

from cldtrans.data.montages.reference import rereference, usual_reference
from cldtrans.errors import DataError


def test_references():
    names = ["EEG Fp1-REF", "EEG F7-REF", "EEG T3-REF", "EEG T5-REF", "EEG O1-REF", "Cz", "Pz", "C4", "ECG"]
    x = np.random.default_rng(0).laplace(size=(9, 160)).astype(np.float32)
    pairs, formed = rereference(x, names, "bipolar")
    assert formed == ["FP1-F7", "F7-T7", "T7-P7", "P7-O1", "CZ-PZ"]
    np.testing.assert_allclose(pairs[1], x[1] - x[2], atol=1e-6)
    average, electrodes = rereference(x, names, "average")
    assert electrodes == ["FP1", "F7", "T7", "P7", "O1", "CZ", "PZ", "C4"]
    np.testing.assert_allclose(average.sum(0), 0, atol=1e-5)
    laplacian, _ = rereference(x, names, "laplacian")
    shifted, _ = rereference(x + 100.0, names, "laplacian")  # what all electrodes share is not there
    np.testing.assert_allclose(shifted, laplacian, atol=0.05 * laplacian.std())
    assert rereference(x, names, "none")[1] == names
    with pytest.raises(DataError, match="needs 8 electrodes or more, found 7"):
        rereference(x[1:], names[1:], "laplacian")
    with pytest.raises(DataError, match="needs scalp electrodes"):
        rereference(x[:2], ["I", "V1"], "average")
    with pytest.raises(DataError, match="double banana"):
        rereference(x[:2], ["Fp1", "C4"], "bipolar")
    assert usual_reference(names) == usual_reference(["FT9-FT10", "F3-F4"]) == "bipolar"
    assert usual_reference(["C3", "C4", "Cz"]) == usual_reference(["I", "V1"]) == "none"
    as_it_is, kept = rereference(x[:2], ["FT9-FT10", "F3-F4"], "bipolar")
    assert kept == ["FT9-FT10", "F3-F4"] and (as_it_is == x[:2]).all()
