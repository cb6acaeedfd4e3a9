"""Places of channels: sides, opposites and unknown names."""

import numpy as np

from cldtrans.data.montages.places import places


def test_electrodes_lie_on_the_sphere_on_their_side():
    left, right, top, front = places(("C3", "EEG C4-REF", "Cz", "Fpz"), "eeg")
    assert left[0] < -0.4 < 0.4 < right[0] and top[2] > 0.99 and front[1] > 0.9
    np.testing.assert_allclose(np.linalg.norm([left, right, top, front], axis=1), 1)
    middle = places(("C3-Cz",), "eeg")[0]
    np.testing.assert_allclose(middle, (left + top) / np.linalg.norm(left + top), atol=1e-12)


def test_leads_obey_einthoven_and_unknown_names_have_no_place():
    one, two, three, right_arm, strange = places(("I", "II", "lead iii", "aVR", "MCL1"), "ecg")
    assert one[0] > 0.9 and two[1] > 0.9 and three[1] > 0.9
    np.testing.assert_allclose(np.linalg.matrix_rank([one, two, three, right_arm], tol=1e-9), 2)
    assert (right_arm @ one < 0) and np.isnan(strange).all() and np.isnan(places(("E12",), "eeg")).all()
