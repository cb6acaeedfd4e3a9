"""Intracranial recordings with an onset zone, from files to result files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys.ieeg import BAD, DEPTH, END_S, HEART, ONSET_S, RATE_HZ, signals, write_bids
from toys.model import make_model
from toys.paths import PROJECT
from toys.shards import paper_config

from cldtrans.config import Config
from cldtrans.data.ecog import read_epoch
from cldtrans.data.intracranial import MarkedRecording, ZoneSet, cut
from cldtrans.errors import DataError
from cldtrans.evaluation.cases import Case
from cldtrans.evaluation.focal_lead import grade_zones, run_focal_lead
from cldtrans.methods.cells import Cell, cell_settings

ECOG = PROJECT.parent / "shared" / "known_lags" / "ecog_pt01"


def with_set(name: str, **changes) -> Config:
    config = paper_config()
    section = config.zeroshot.intracranial[name.partition("-")[0]].model_copy(update=changes)
    return config.model_copy(
        update={"zeroshot": config.zeroshot.model_copy(update={"intracranial": {name: section}})}
    )


def zone_set(folder: Path, name: str = "ieeg", **changes) -> ZoneSet:
    config = with_set(name, folder=str(folder), **changes)
    return ZoneSet(name, config.zeroshot.intracranial[name])


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bids(tmp_path_factory.mktemp("bids"))


def test_a_bids_folder_becomes_seizures(bids: Path) -> None:
    found = zone_set(bids)
    assert found.reason is None
    assert [(one.subject, one.number) for one in found.seizures] == [("sub-01", 1), ("sub-02", 1)]
    for one, lead in zip(found.seizures, (1, 6), strict=True):
        assert one.channels == tuple(name for name in DEPTH if name != BAD)  # nor the heart
        assert {one.channels[k] for k in one.zone} == {DEPTH[lead], DEPTH[lead + 1]}
        assert one.x.shape == (3, 11, 1600) and one.background.shape == (5, 11, 1600) and one.mask.all()
        together = np.concatenate([one.x, one.background])
        assert together.std(axis=(0, 2)) == pytest.approx(1, abs=1e-3)
        assert (one.x.std(axis=(0, 2)) > 1.5 * one.background.std(axis=(0, 2))).all()
    assert len(found.notes) == 2 and all(
        f"marked as bad, and left out: {BAD}" in note for note in found.notes
    )
    assert found.fingerprint == zone_set(bids).fingerprint
    assert HEART not in str(found.notes)


@pytest.mark.parametrize("method", ["single_source", "gcc_phat", "line_length", "cldtrans"])
def test_every_readout_scores_a_bids_folder(bids: Path, tmp_path: Path, method: str) -> None:
    config = with_set("ieeg-here", folder=str(bids))
    checkpoint = tmp_path / "model" if method == "cldtrans" else None
    if checkpoint is not None:
        make_model().save_pretrained(checkpoint)
    record = run_focal_lead(
        config, experiment="zeroshot", dataset="ieeg-here", method=method, seed=0, shards=None,
        output=tmp_path / "a.json", details=tmp_path / "a.csv", checkpoint=checkpoint,
    )  # fmt: skip
    assert record["n"]["test"] == record["n"]["subjects"]["test"] == 2
    assert record["chance"]["top1"] == pytest.approx(2 / 11)
    assert record["chance"]["zone_auroc"] == 0.5
    assert record["ci95"].keys() >= {"top1", "top3", "top5", "zone_auroc"}
    assert any(BAD in note for note in record["notes"])
    if method in ("single_source", "gcc_phat"):
        assert record["metrics"]["top1"] == 1.0
        assert record["ci95"]["top1"] == pytest.approx([0.025**0.5, 1.0])
        assert pd.read_csv(tmp_path / "a.csv")["first"].tolist() == [DEPTH[1], DEPTH[6]]
    if method == "cldtrans":
        assert any(name.startswith("top1:") for name in record["metrics"]), "each of its readouts"


def test_windows_too_short_for_a_method_are_a_reason(bids: Path, tmp_path: Path) -> None:
    record = run_focal_lead(
        with_set("ieeg", folder=str(bids), window_s=1.0), experiment="zeroshot", dataset="ieeg",
        method="ldsem", seed=0, shards=None, output=tmp_path / "a.json",
    )  # fmt: skip
    assert record["metrics"]["top1"] is None
    assert record["reasons"]["top1"].startswith("ieeg: ldsem cannot read its windows: 1 windows leave")


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    def reason(name: str, **changes) -> str:
        record = run_focal_lead(
            with_set(name, **changes), experiment="zeroshot", dataset=name, method="line_length", seed=0,
            shards=None, output=tmp_path / "a.json",
        )  # fmt: skip
        assert record["n"]["test"] == 0 and set(record["metrics"].values()) == {None}
        assert len(set(record["reasons"].values())) == 1
        return record["reasons"]["top1"]

    assert reason("ecog") == "ecog: no recordings supplied (zeroshot.intracranial.ecog.folder is null)"
    assert "no such folder; correct zeroshot.intracranial.ieeg.folder" in reason("ieeg", folder="/no/where")
    assert "no usable seizure (expected files that end in _ieeg.edf" in reason("ieeg", folder=str(tmp_path))
    config = with_set("ieeg", folder=str(tmp_path))
    with pytest.raises(DataError, match="of the experiment zeroshot alone"):
        run_focal_lead(
            config, experiment="planted", dataset="ieeg", method="line_length", seed=0, shards=None,
            output=tmp_path / "b.json",
        )  # fmt: skip


def edited(folder: Path, ending: str, old: str, new: str) -> Path:
    for path in write_bids(folder, (1,)).rglob(f"*{ending}"):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    return folder


@pytest.mark.parametrize(
    ("ending", "old", "new", "says"),
    [
        ("_events.tsv", "55.0", "n/a", "an onset should be a number of seconds, found 'n/a'"),
        (
            "_events.tsv",
            "55.0",
            "85",
            "expected 10 s in one piece from the onset at 85 s, found 90 s recorded",
        ),
        ("_events.tsv", "SZ event", "spike", "expected files that end in"),
        ("_channels.tsv", "SOZ", "n/a", "the onset zone holds no channel"),
        ("_channels.tsv", "name\t", "label\t", "no column 'name'; found label, type"),
        ("_channels.tsv", "A", "X", "expected the channels of .*_channels.tsv|none of the"),
    ],
)
def test_a_recording_that_cannot_be_used_is_a_line(
    tmp_path: Path, ending: str, old: str, new: str, says: str
) -> None:
    found = zone_set(edited(tmp_path, ending, old, new))
    assert not found.seizures
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(found.reason)


def test_another_column_may_mark_the_zone(tmp_path: Path) -> None:
    folder = edited(tmp_path, "_channels.tsv", "status_description", "resected")
    marks = paper_config().zeroshot.intracranial["ieeg"].marks
    assert marks is not None
    chosen = marks.model_copy(update={"zone_column": "resected", "zone_pattern": "^(soz|1|true)$"})
    (one,) = zone_set(folder, marks=chosen).seizures
    assert {one.channels[k] for k in one.zone} == {DEPTH[1], DEPTH[2]}
    found = zone_set(folder, marks=marks.model_copy(update={"zone_column": "pathology"}))
    assert "no column 'pathology' in its channels or electrodes" in str(found.reason)


def recording(seizures: list[tuple[float, float]], **changes) -> MarkedRecording:
    x = signals(1, 0).astype(np.float32)
    known = {"breaks": [], **changes}
    return MarkedRecording(
        "a", "r", DEPTH, frozenset({1}), seizures, RATE_HZ, x.shape[1], lambda a, b: x[:, a:b].copy(), **known
    )


def test_background_is_before_the_onset_and_touches_no_other_seizure() -> None:
    settings = paper_config().zeroshot.intracranial["ieeg"]
    assert len(cut(recording([(ONSET_S, END_S)]), 0, settings).background) == 5
    two = [(22.0, 31.0), (ONSET_S, END_S)]
    assert len(cut(recording(two), 0, settings).background) == 2
    assert len(cut(recording(two), 0, settings).x) == 1  # it lasts 9 s
    assert len(cut(recording(two), 1, settings).background) == 2  # from 31 to 55 s
    unknown = [(22.0, np.inf), (ONSET_S, np.inf)]
    assert len(cut(recording(unknown), 1, settings).background) == 0  # nobody says when the first ended
    assert len(cut(recording([(ONSET_S, END_S)], breaks=[round(20 * RATE_HZ)]), 0, settings).background) == 4
    with pytest.raises(DataError, match="in one piece"):
        cut(recording([(ONSET_S, END_S)], breaks=[round((ONSET_S + 3) * RATE_HZ)]), 0, settings)


def test_zones_are_graded_by_hand() -> None:
    def case(subject: str, first: int, zone: set[int], channels: int) -> Case:
        scores = {"": np.eye(channels)[first], "line_length": np.zeros(channels)}
        return Case(subject, "r", 1, scores, tuple(map(str, range(channels))), truth=[zone])

    scores = grade_zones([case("a", 0, {0, 1}, 10), case("a", 5, {0, 1}, 10), case("b", 2, {2}, 4)])
    assert scores.metrics["top1"] == 0.75  # patients count, each alike
    assert scores.chance["top1"] == pytest.approx((0.2 + 0.25) / 2)
    expected = ((0.5 + 0.5 * 0.5) + (0.5 * 7 / 8)) / 2  # of patient a: half of its zone on top, then none
    assert scores.metrics["zone_auroc"] == pytest.approx((expected + 1) / 2)


def test_a_cell_reads_its_own_set_wherever_it_lies() -> None:
    cell = Cell("zeroshot", "ieeg", "gcc_phat", "0", 1)
    before = cell_settings(with_set("ieeg"), cell)
    assert cell_settings(with_set("ieeg", folder="/elsewhere"), cell) == before
    assert cell_settings(with_set("ieeg", window_s=5.0), cell) != before


@pytest.mark.data
@pytest.mark.skipif(not ECOG.is_dir(), reason="no electrocorticogram beside the checkout")
def test_the_electrocorticogram_is_read_as_it_was_published() -> None:
    pytest.importorskip("rdata")
    one = read_epoch(ECOG / "pt01EcoG.rda")
    assert (one.subject, len(one.channels), one.rate_hz, one.n_samples) == ("PT01", 84, 1000.0, 3001)
    assert one.seizures == [(1.0, np.inf)]
    named = {one.channels[k] for k in one.zone}
    assert named == {"ATT1", "ATT2", *(f"{shaft}{k}" for shaft in ("AD", "PD") for k in range(1, 5))}
    (seizure,) = zone_set(ECOG, "ecog").seizures
    assert seizure.x.shape == (2, 84, 160) and seizure.background.shape == (1, 84, 160)


def test_a_file_that_is_no_object_of_r_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.rda").write_bytes(b"RDX3\nnothing")
    expected = "a.rda: expected an Epoch object of R|a.rda: objects of R are read by the package rdata"
    with pytest.raises(DataError, match=expected):
        read_epoch(tmp_path / "a.rda")
