"""Arrays, tensors, mne's recordings and epochs: one fit, whichever of them is handed in."""

import mne
import numpy as np
import pytest
import torch

from cldtrans import fit_ldsem, focal_lead
from cldtrans.errors import DataError
from cldtrans.lag import simulate_ldsem
from cldtrans.lag.inputs import read_input

NAMES = ["Fp1-F7", "F7-T7", "T7-P7"]


@pytest.fixture(scope="module")
def world():
    return simulate_ldsem(
        3,
        40.0,
        90.0,
        window_s=10.0,
        edges_per_node=1.0,
        lag_range_s=(0.02, 0.08),
        self_dynamics="ar2",
        seed=1,
    )


def raw_of(x, names=NAMES, kinds="eeg", rate=90.0, **about):
    raw = mne.io.RawArray(x, mne.create_info(names, rate, kinds), verbose="ERROR")
    raw.set_annotations(mne.Annotations(**about) if about else None)
    return raw


def epochs_of(x, names=NAMES):
    return mne.EpochsArray(x, mne.create_info(names, 90.0, "eeg"), verbose="ERROR")


def test_all_of_them_give_one_fit(world):
    x = np.asarray(world.x) * 1e-6
    fits = [
        fit_ldsem(x * 1e6, 90.0),
        fit_ldsem(torch.from_numpy(x * 1e6), 90.0),
        fit_ldsem(epochs_of(x)),
    ]
    assert (fits[0].support == world.support).all()
    for fit in fits[1:]:
        np.testing.assert_allclose(fit.tau, fits[0].tau, rtol=1e-6, equal_nan=True)
        np.testing.assert_allclose(fit.weight, fits[0].weight, rtol=1e-6)
    assert fits[0].channels is None and fits[2].channels == NAMES
    assert set(fits[2].summary()["source"]) <= set(NAMES) and set(fits[0].summary()["source"]) <= {0, 1, 2}


def test_a_recording_is_one_window_in_microvolts_without_bad_and_other_channels():
    x = np.random.default_rng(0).standard_normal((4, 900)) * 1e-6
    raw = raw_of(x, [*NAMES, "STI"], ["eeg", "eeg", "eeg", "stim"])
    raw.info["bads"] = ["F7-T7"]
    given = read_input(raw)
    assert given.channels == ["Fp1-F7", "T7-P7"] and given.reference == "bipolar" and given.sample_rate == 90
    np.testing.assert_allclose(given.x, 1e6 * x[None, [0, 2]])
    assert any("bad" in note and "F7-T7" in note for note in given.notes)
    assert any("STI" in note for note in given.notes)


def test_no_window_touches_a_bad_stretch_or_a_boundary():
    x = np.arange(90 * 45.0)[None].repeat(3, 0) * 1e-6
    marks = {"onset": [12.0, 38.0], "duration": [1.0, 0.0], "description": ["BAD_movement", "boundary"]}
    raw = raw_of(x, **marks)
    given = read_input(raw)
    starts = given.x[:, 0, 0] / 90
    assert given.x.shape == (2, 3, 900) and np.allclose(starts, [0, 20])
    assert any("2 windows of 10 s" in note for note in given.notes)


@pytest.mark.parametrize(
    ("names", "kind", "reference"),
    [(["C3", "C4", "Cz"], "eeg", "common"), (NAMES, "eeg", "bipolar"),
     (["C3", "C4", "Cz"], "csd", "laplacian"),
     (["I", "II", "V1"], "ecg", None)],
)  # fmt: skip
def test_the_reference_is_read(names, kind, reference):
    given = read_input(raw_of(np.random.default_rng(0).standard_normal((3, 900)), names, kind))
    assert given.reference == reference
    assert any("share a reference" in note for note in given.notes) == (reference == "common")


def test_a_low_pass_far_below_the_rate_is_said():
    raw = raw_of(np.random.default_rng(0).standard_normal((3, 5000)) * 1e-6, rate=500.0)
    assert not read_input(raw).notes
    raw.filter(None, 40.0, verbose="ERROR")
    assert any("resample to about 89 Hz" in note for note in read_input(raw).notes)


def test_who_leads_is_asked_of_epochs_with_their_names(world):
    x = np.random.default_rng(0).standard_normal((4, 3, 900))
    plain, named = (
        focal_lead(x, 90.0, x[2:]),
        focal_lead(epochs_of(x * 1e-6), background=epochs_of(x[2:] * 1e-6)),
    )
    np.testing.assert_allclose(plain.log_posterior, named.log_posterior, atol=1e-3)
    assert plain.channels is None and named.channels == NAMES
    assert set(named.to_frame()["channel"]) == set(NAMES)


def test_one_line_says_what_is_missing():
    x = np.zeros((1, 2, 900))
    with pytest.raises(DataError, match="give sample_rate"):
        fit_ldsem(x)
    with pytest.raises(ValueError, match="give sample_rate"):
        focal_lead(x)
    with pytest.raises(DataError, match="recorded at 90 Hz, sample_rate is 100 Hz"):
        fit_ldsem(raw_of(np.ones((3, 900))), 100.0)
    with pytest.raises(DataError, match="no data channel"):
        fit_ldsem(raw_of(np.ones((1, 900)), ["STI"], "stim"))
