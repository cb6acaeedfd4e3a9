"""A seizure on the head: numbers are those of `focal_lead`, and the picture says what it shows."""

from pathlib import Path

import numpy as np
import pandas as pd
import plot_propagation
import pytest
from toys.discharges import CHANNELS, N_SAMPLES, RATE_HZ, background
from toys.shards import write_shards

from cldtrans.data.shards import ShardSet
from cldtrans.evaluation import planted
from cldtrans.evaluation.propagation import COLUMNS, propagation, stretch
from cldtrans.lag import focal_lead

LEAD = CHANNELS.index("T8-P8")


def recording(
    folder: Path, seizure: bool = True, channels: tuple[str, ...] = CHANNELS, **meta: object
) -> ShardSet:
    """Seven windows of 10 s; from 43 s on, where there is a seizure, a discharge that one channel leads."""
    rng = np.random.default_rng(3)
    parts = background(7, seed=5)
    if seizure:
        while True:
            plan = planted.draw_plan(planted.neighbours(CHANNELS), np.ones(18, dtype=bool), rng)
            if plan.lead == LEAD:
                break
        long = planted.discharge(plan.delay_s, 4 * N_SAMPLES, RATE_HZ, rng)
        begins = int(np.flatnonzero(np.abs(long[LEAD]) > 0.01)[0])
        whole = parts.transpose(1, 0, 2).reshape(18, -1)
        onset = round(43 * RATE_HZ)
        whole[:, onset:] += 3 * plan.gain[:, None] * long[:, begins : begins + whole.shape[1] - onset]
        parts = whole.reshape(18, 7, N_SAMPLES).transpose(1, 0, 2)
        parts = np.concatenate([parts, whole[None, :, onset : onset + N_SAMPLES]])
    index = pd.DataFrame(
        {
            "subject": "a",
            "recording": "a_01",
            "start_s": [*(10.0 * np.arange(7)), *([43.0] if seizure else [])],
            "kind": ["grid"] * 7 + ["onset"] * seizure,
            "event": np.array([-1] * 7 + [0] * seizure, dtype=np.int16),
            "label": np.array([0] * 4 + [int(seizure)] * 3 + [1] * seizure, dtype=np.int16),
        }
    )
    task = {"name": "seizure", "kind": "binary", "classes": ["background", "seizure"]}
    shards = ShardSet(
        write_shards(folder, parts, index, channels=channels, sample_rate=RATE_HZ, task=task, dataset="toy")
    )
    shards.meta.update(meta)
    return shards


def test_numbers_are_those_of_an_independent_call(tmp_path: Path) -> None:
    windows = recording(tmp_path / "s")
    table, reason = propagation([windows])
    assert reason == "" and tuple(table.columns) == COLUMNS
    assert set(table["after_s"]) == {0.0, 2.0, 5.0} and len(table) == 3 * 18
    parts = windows.signals(np.arange(8))
    whole = parts[:7].transpose(1, 0, 2).reshape(18, -1)
    np.testing.assert_array_equal(stretch(windows, "a_01", 43.0, 10.0)[0], parts[7])  # type: ignore[index]
    assert stretch(windows, "a_01", 65.0, 10.0) is None
    for after, rows in table.groupby("after_s"):
        first = round((43 + after) * RATE_HZ)
        alone = focal_lead(whole[:, first : first + N_SAMPLES], RATE_HZ, parts[:4])
        assert rows["channel"].tolist() == list(CHANNELS)
        np.testing.assert_allclose(rows["p_first"], np.exp(alone.log_posterior), rtol=1e-6)
        np.testing.assert_allclose(rows["delay_s"], alone.delay, rtol=1e-6)
        np.testing.assert_allclose(rows["delay_stderr_s"], alone.delay_stderr, rtol=1e-6)
        np.testing.assert_allclose(rows["participation"], alone.participation, rtol=1e-6)
        assert rows["evidence"].iloc[0] == pytest.approx(alone.evidence) and rows["found"].all()
        assert rows["quiet_windows"].eq(4).all()  # 0 to 40 s, and nothing of the seizure


def test_a_planted_discharges_lead_is_first_and_starred(tmp_path: Path) -> None:
    table, reason = propagation([recording(tmp_path / "s")])
    figure = plot_propagation.draw(table, reason)
    heads = figure.axes[:3]
    assert [axes.get_title() for axes in heads] == ["onset + 0 s", "onset + 2 s", "onset + 5 s"]
    for axes, (_, rows) in zip(heads, table.groupby("after_s"), strict=True):
        assert rows.sort_values("p_first").iloc[-1]["channel"] == CHANNELS[LEAD]
        assert rows["delay_s"].min() == 0
        said = [text.get_text() for text in axes.texts]
        assert any(text.startswith(f"{CHANNELS[LEAD]}: ") for text in said)
    assert "chance 1/18 = 0.06" in figure.get_suptitle()


def test_where_nobody_leads_it_is_written(tmp_path: Path) -> None:
    table, _ = propagation([recording(tmp_path / "s")])
    nobody = table.assign(found=False, delay_s=np.nan, delay_stderr_s=np.nan, evidence=-3.0)
    figure = plot_propagation.draw(nobody, "")
    for axes in figure.axes[:3]:
        assert "no single leading channel" in [text.get_text() for text in axes.texts]


def test_a_figure_without_data_says_so(tmp_path: Path) -> None:
    calm = recording(tmp_path / "calm", seizure=False)
    names = recording(tmp_path / "ecg", channels=tuple(f"X{k}" for k in range(18)))
    apart = recording(tmp_path / "apart", scale="window")
    for shards, says in (
        ([], "no corpus with scalp EEG in this run"),
        ([names], "no corpus with scalp EEG in this run"),
        ([calm], "toy: no seizure with quiet windows and 15 s of signal"),
        ([apart], "toy: windows of a recording do not join"),
    ):
        table, reason = propagation(shards)
        assert table.empty and says in reason
        (text,) = plot_propagation.draw(table, reason).axes[0].texts
        assert reason in text.get_text()
    table, reason = propagation([calm, recording(tmp_path / "other")])
    assert len(table) and reason == ""
