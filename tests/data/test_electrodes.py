"""Electrodes by name, their places, and loops of their differences."""

import numpy as np

from cldtrans.data.montages.electrodes import closing_a_loop, is_bipolar, on_head, positions, scalp_pair
from cldtrans.data.montages.montage import DOUBLE_BANANA


def test_places_on_the_head():
    places, middle = on_head(["T3", "T8", "Fpz", "Oz.", "Cz"]), on_head(["T3-T4"])
    assert places is not None and middle is not None
    left, right, front, back, top = places
    assert left[0] < -0.7 and right[0] > 0.7 and front[1] > 0.7 and back[1] < -0.7
    assert np.abs(top).max() < 0.2
    np.testing.assert_allclose(middle[0], (left + right) / 2)
    assert on_head(["Cz", "V1"]) is None
    assert scalp_pair("T8-P8-1") == ("T8", "P8") and scalp_pair("ECG") is None
    assert (
        is_bipolar(DOUBLE_BANANA)
        and not is_bipolar(["C3-Cz", "C4-Cz"])
        and not is_bipolar(["C3-A1", "C4-A2"])
    )


def test_differences_that_close_a_loop_are_found_whatever_their_order():
    chains = ["Fp1-F7", "F7-T3", "T3-T5", "T5-O1", "Fp1-F3", "F3-C3", "C3-P3", "P3-O1"]
    assert closing_a_loop(chains) == [7] and closing_a_loop(chains[::-1]) == [7]
    assert closing_a_loop(["F3-C3", "ECG", "C3-F3", "F3-C3"]) == [2, 3]
    assert closing_a_loop(["C3-A1", "C4-A1", "C3-C4"]) == [2]
    # By rank: of so many differences of electrodes, as many are sums of the others as a matrix lacks rank.
    rng = np.random.default_rng(0)
    names = list(positions())[:12]
    for _ in range(20):
        pairs = [rng.choice(12, 2, replace=False) for _ in range(15)]
        matrix = np.zeros((15, 12))
        for row, (a, b) in zip(matrix, pairs, strict=True):
            row[a], row[b] = 1, -1
        found = closing_a_loop([f"{names[a]}-{names[b]}" for a, b in pairs])
        assert len(found) == 15 - np.linalg.matrix_rank(matrix)
        rest = np.delete(matrix, found, 0)
        assert np.linalg.matrix_rank(rest) == len(rest)
