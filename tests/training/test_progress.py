"""What a run has logged: means by hand, the best by comparison, nothing that is not a number."""

import json
import math

import pytest

from cldtrans.training import progress as progress_module
from cldtrans.training.progress import Progress, Recorder


def test_the_best_validation_is_the_smallest_finite_one():
    progress = Progress()
    verdicts = []
    for step, value in enumerate([math.nan, 3.0, 2.0, 2.0, math.inf, 1.0]):
        progress.step = step
        verdicts.append((progress.judge(value), progress.worse))
    assert verdicts == [(False, 1), (True, 0), (True, 0), (False, 1), (False, 2), (True, 0)]
    assert (progress.best_step, progress.best_value) == (5, 1.0)


def test_rows_are_means_of_steps_and_survive_a_checkpoint(monkeypatch):
    monkeypatch.setattr(progress_module, "MAX_ROWS", 3)
    whole, first = Progress(), Progress()
    second = Progress()

    def steps(recorder: Recorder, numbers: range) -> None:
        for step in numbers:
            recorder.progress.step = step + 1
            recorder.add({"loss": float(step)} | ({"rare": 10.0} if step == 1 else {}))

    steps(Recorder(whole, 9, None), range(9))
    expected = [{"step": 3, "loss": 1.0, "rare": 10.0}, {"step": 6, "loss": 4.0}, {"step": 9, "loss": 7.0}]
    assert whole.history == expected
    steps(Recorder(first, 9, None), range(4))  # cut within a row
    second.replace(json.loads(json.dumps(first.to_json())))
    steps(Recorder(second, 9, None), range(4, 9))
    assert second.history == expected


def test_what_is_no_number_is_null():
    recorder = Recorder(Progress(step=4), 10, None)
    recorder.add_validation({"loss": math.nan, "auroc": 0.5})
    assert recorder.progress.validations == [{"step": 4, "loss": None, "auroc": 0.5}]


def test_the_outlook_is_of_the_median_without_the_first_steps():
    recorder = Recorder(Progress(step=10), 10_000, None)
    recorder.times_ms = [9000.0, 9000.0, 9000.0, 90.0, 100.0, 110.0, 5000.0]
    assert recorder.step_ms() == pytest.approx(105.0)
    assert recorder.outlook(10_010, 21, 2) == (
        "105 ms a step, 200 windows/s: about 0.3 h to go, 0.6 device-hours"
    )
    assert recorder.outlook(20, 21, 2) is None
