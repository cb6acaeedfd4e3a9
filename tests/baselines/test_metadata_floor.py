"""Floors without a signal against arithmetic by hand."""

import hbn_floors
import numpy as np
import pytest
from toys.paths import HBN

from cldtrans.baselines.metadata_floor import mean_of_earlier, ridge_floor


def test_the_mean_of_earlier_answers_looks_neither_ahead_nor_at_others() -> None:
    y = np.array([1.0, 10.0, 3.0, 5.0, 20.0])
    belongs = np.array(["a", "b", "a", "a", "b"])
    np.testing.assert_array_equal(mean_of_earlier(y, belongs), [np.nan, np.nan, 1.0, 2.0, 10.0])
    later = y.copy()
    later[3:] = 99.0
    np.testing.assert_array_equal(mean_of_earlier(later, belongs)[:4], mean_of_earlier(y, belongs)[:4])


def test_a_line_is_found_and_unknown_cells_are_the_mean() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = 2.0 + 3.0 * x[:, 0]
    found = ridge_floor(x, y, np.repeat(np.arange(20), 3), np.array([[1.0, 0.0], [np.nan, 0.0]]))
    assert found == pytest.approx([5.0, 2.0 + 3.0 * x[:, 0].mean()], abs=1e-2)


def test_what_tells_subjects_apart_and_nothing_else_is_penalised_away() -> None:
    """Fifteen random numbers a subject explain his own labels, and nothing of other subjects'."""
    rng = np.random.default_rng(0)
    subjects = np.tile(np.arange(20), 30)
    y = rng.normal(size=20)[subjects] + 0.1 * rng.normal(size=600)
    x = rng.normal(size=(20, 15))[subjects]
    found = ridge_floor(x, y, subjects, rng.normal(size=(50, 15)))
    least_squares = np.linalg.lstsq(np.c_[x, np.ones(600)], y, rcond=None)[0]
    assert np.std(x @ least_squares[:-1]) > 0.5
    assert np.std(found) < 0.1


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not HBN.is_dir(), reason="no tables of HBN-EEG beside the checkout")
def test_floors_of_real_tables_are_those_that_were_found_before() -> None:
    """Figures of an independent script, fitted on R4 and scored on R5."""
    train, held_out = (hbn_floors.persons_of(HBN / release) for release in ("ds005508", "ds005509"))
    externalizing = hbn_floors.rows_of("2", train, held_out, "externalizing")
    first, second = [
        hbn_floors.labelled_trials(hbn_floors.read_trials(HBN / release), persons)
        for release, persons in (("ds005508", train), ("ds005509", held_out))
    ]
    response = hbn_floors.rows_of("1", first, second, "response_time_s")
    nrmse = {
        f"{row['predicted']} from {row['from']}": float(row["nRMSE"].split()[0])
        for row in externalizing + response
    }
    assert nrmse["externalizing from age, sex, handedness"] == pytest.approx(0.981, abs=0.015)
    assert nrmse["response time from age, sex, handedness"] == pytest.approx(0.988, abs=0.015)
    assert nrmse["response time from mean of earlier trials in the run"] == pytest.approx(0.951, abs=0.015)
