"""Seizure alarms counted by hand."""

import numpy as np
import pandas as pd
import pytest

from cldtrans.scoring import alarms


def alarm_part(labels, scores, recording="r1"):
    n = len(labels)
    index = pd.DataFrame({"subject": "s", "recording": recording, "start_s": 10.0 * np.arange(n)})
    return index, np.array(labels), np.array(scores, dtype=float)


def test_alarms_by_hand():
    labels = [0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0]
    score = [0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 1]
    index, y, s = alarm_part(labels, score)
    found = alarms.count(index, y, s, 0.5, 10.0)
    assert found.false_alarms == 2  # windows 6-7 and window 10; the one at 1-2 runs into the seizure
    assert found.detected.tolist() == [True, False]
    assert found.latency_s.tolist() == [0.0]
    shuffled = np.random.default_rng(0).permutation(len(y))
    again = alarms.count(index.iloc[shuffled], y[shuffled], s[shuffled], 0.5, 10.0)
    assert again.false_alarms == 2


def test_fixed_false_alarm_rate_needs_hours_and_uses_validation_only():
    rng = np.random.default_rng(0)
    labels = np.zeros(1000, dtype=int)
    labels[200:206] = labels[700:704] = 1
    score = rng.random(1000) * 0.5
    score[202:206] = score[700:704] = 0.9
    part = alarm_part(labels, score)
    found = alarms.at_fixed_rate(part, part, 10.0, 10.0)
    assert found.metrics["sensitivity_1fa_per_h"] == 1.0
    assert 0 <= (found.metrics["false_alarms_per_h"] or 0) <= 1.0
    assert found.metrics["latency_s"] == pytest.approx(10.0)  # 20 s and 0 s
    short = alarm_part(labels[:300], score[:300])
    assert "too few" in alarms.at_fixed_rate(part, short, 10.0, 10.0).reasons["sensitivity_1fa_per_h"]
