"""What `cldtrans lags` writes: honest readings, a page that asks nobody for anything, tables."""

import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toys.paths import MIRROR

from cldtrans.cli import main
from cldtrans.data.miniature.edf_writer import EdfSignal, write_edf
from cldtrans.data.montages.dependent_leads import dependent_leads
from cldtrans.data.montages.spelling import cleaned, spelled
from cldtrans.data.recording import from_array
from cldtrans.errors import DataError
from cldtrans.lag import simulate_ldsem
from cldtrans.lag.recording import cut_window, lags_of_recording
from cldtrans.lag.recording.page import page
from cldtrans.lag.recording.readings import MEANING, READINGS, read, worst_of, written_p
from cldtrans.lag.recording.summary import settings_of, write_csv, write_summary

LEADS = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2"]


@pytest.fixture(scope="module")
def world():
    return simulate_ldsem(3, 30.0, 90.0, window_s=30.0, edges_per_node=1.0, lag_range_s=(0.03, 0.08), seed=1)


@pytest.fixture(scope="module")
def lags(world):
    names = ["Pz", "O1#2", "C3.."]  # as files have them
    return lags_of_recording(from_array(20 * world.x[0], 90.0, names), reference="none")


# Readings


def edge(**values):
    usual = {
        "source": "a",
        "target": "b",
        "tau_ms": 50.0,
        "tau_low_ms": 48.0,
        "tau_high_ms": 52.0,
        "weight": 0.5,
    }
    return {**usual, **values}


def reading(row, names=("a", "b"), coloured=0.0, deviation=(1.0, 1.0)):
    fit: Any = SimpleNamespace(sample_rate=90.0, tau_max=0.1, autocorrelation=np.full(len(names), coloured))
    return str(read(pd.DataFrame([row]), fit, list(names), deviation)[0])


@pytest.mark.parametrize(
    ("row", "about", "expected"),
    [
        (edge(), {}, "lag"),
        (edge(), {"coloured": 0.3}, "possible lag"),
        (edge(tau_ms=11.6, tau_low_ms=11.2, tau_high_ms=12.0), {}, "one sample"),
        (edge(tau_ms=98.9, tau_low_ms=98.0, tau_high_ms=99.8), {}, "at the limit"),
        (edge(tau_low_ms=1.0, tau_high_ms=40.0, tau_ms=20.0), {}, "zero lag"),
        (edge(tau_low_ms=10.0, tau_high_ms=90.0), {}, "undetermined"),
        (edge(weight=-30.0), {}, "implausible"),
        (
            edge(source="I", target="AVL"),
            {"names": ("I", "II", "AVL"), "deviation": (1,) * 3},
            "dependent leads",
        ),
        (edge(source="I", target="II"), {"names": ("I", "II", "V1"), "deviation": (1,) * 3}, "lag"),
    ],
)
def test_what_is_printed_as_a_finding_is_one(row, about, expected):
    assert reading(row, **about) == expected


def test_every_reading_has_a_meaning_and_lags_come_first():
    assert READINGS[0] == "lag" and set(READINGS) == set(MEANING)


def test_p_is_never_zero():
    assert written_p(0.0) == "< 1e-300" and written_p(0.004) == "0.004"


def test_the_gravest_warning_is_chosen():
    mild, grave = "channels x drift: slow change", "residuals of x are autocorrelated"
    assert worst_of([mild, grave]) == grave and worst_of([mild]) == mild and worst_of(["all is well"]) is None


# Names and leads


@pytest.mark.parametrize(
    ("name", "clean", "clinical"),
    [("C3..", "C3", "C3"), ("AVR", "aVR", "aVR"), ("FP1-F7", "FP1-F7", "Fp1-F7"), ("EEG CZ", "CZ", "Cz"),
     ("T8-P8#2", "T8-P8 (2)", "T8-P8 (2)"), ("V1", "V1", "V1"), ("Fc5.", "Fc5", "FC5"),
     ("a#b", "aNo. b", "aNo. b")],
)  # fmt: skip
def test_names_are_written_as_clinicians_do(name, clean, clinical):
    assert cleaned(name) == clean and spelled(name) == clinical


def test_two_limb_leads_and_all_chest_leads_stay():
    assert dependent_leads(LEADS) == [2, 3, 4, 5]
    assert dependent_leads(["V1", "aVF", "III", "aVR"]) == [1]  # III and aVR come first
    x = np.random.default_rng(0).standard_normal((2, 5000))
    limb = np.stack([x[0], x[1], x[1] - x[0], -(x[0] + x[1]) / 2, x[0] - x[1] / 2, x[1] - x[0] / 2])
    chest = np.random.default_rng(1).standard_normal((2, 5000))
    recording = from_array(np.concatenate([limb, chest]), 500.0, LEADS)
    window = cut_window(recording)
    assert window.channels == ["I", "II", "V1", "V2"]
    assert any("III, aVR, aVL, aVF" in note for note in window.notes)
    assert cut_window(recording, channels=["I", "aVF", "aVL"]).channels == [
        "I",
        "AVF",
        "AVL",
    ]  # who asks gets them


def test_single_electrodes_of_a_bipolar_montage_are_explained():
    names = ["Fp1", "F3", "C3", "P3", "O1", "C4"]
    recording = from_array(np.random.default_rng(0).standard_normal((6, 4000)), 200.0, names)
    assert any("6 scalp electrodes became 4 bipolar pairs" in note for note in cut_window(recording).notes)
    with pytest.raises(DataError, match=r"type --channels F3-C3 C3-P3, or --reference none --channels C3 C4"):
        cut_window(recording, channels=["C3", "C4"])
    assert cut_window(recording, channels=["C3", "C4"], reference="none").channels == ["C3", "C4"]


# Files


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.sources, self.words, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


def test_a_page_holds_everything_and_asks_nobody(lags, world):
    recording = from_array(20 * world.x[0], 90.0, ["Pz", "O1#2", "C3.."])
    text = page(lags, recording, settings_of(lags, 0.01, 32))
    found = Page(text)
    assert len(found.sources) == 3 and all(source.startswith("data:image/png") for source in found.sources)
    assert not re.search(r"https?://", text)
    said = " ".join(" ".join(found.words).split())
    expected = (
        *("not a medical device", "0 to 30 s", "reference none", "95 % interval", "cldtrans", "no proof"),
        *("What this cannot", "O1 (2)", "Pairwise delays", "earlier", "0.5 to 40 Hz"),
    )
    for words in expected:
        assert words in said, words
    assert "C3.." not in said and all(line in said for line in lags.warnings)


def test_what_a_recording_is_called_cannot_become_markup(lags, world):
    window = dataclasses.replace(lags.window, origin="/x/<img src=x onerror=alert(1)>.edf", notes=["<b>"])
    odd = dataclasses.replace(lags, window=window)
    text = page(odd, from_array(20 * world.x[0], 90.0), settings_of(odd, 0.01, 32))
    assert "<img src=x" not in text and "<b>" not in text and "&lt;img src=x" in text


def test_the_table_is_read_past_its_settings(lags, tmp_path):
    fit = dataclasses.replace(lags.fit, p_value=np.zeros((3, 3)))
    lags = dataclasses.replace(lags, fit=fit)
    write_csv(tmp_path / "lags.csv", lags, settings_of(lags, 0.01, 32))
    text = (tmp_path / "lags.csv").read_text()
    assert (
        text.startswith("# file: array\n# window: 0 to 30 s\n") and "# warning: filter and sampling" in text
    )
    table = pd.read_csv(tmp_path / "lags.csv", comment="#")
    pd.testing.assert_frame_equal(table, lags.table())
    assert len(table) >= 3 and (table["p_value"] == 1e-300).all()
    assert set(table["source"]) | set(table["target"]) == {"Pz", "O1 (2)", "C3"}


def test_the_summary_holds_the_whole(lags, tmp_path):
    write_summary(tmp_path / "summary.json", lags, settings_of(lags, 0.01, 32))
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["settings"]["lags searched"] == "0 to 100 ms" and content["warnings"] == lags.warnings
    pd.testing.assert_frame_equal(pd.DataFrame(content["edges"]), lags.table())
    assert sum(content["readings"].values()) == len(content["edges"])


def test_the_command_writes_all_of_it(world, tmp_path, capsys):
    signals = [
        EdfSignal(n, 20 * x, 90, (-1000, 1000))
        for n, x in zip(["Fp1-F7", "F7-T7", "T7-P7"], world.x[0], strict=True)
    ]
    write_edf(tmp_path / "r.edf", signals)
    out = tmp_path / "out"
    assert (
        main(["lags", str(tmp_path / "r.edf"), "--output", str(out), "--max-order", "16", "--threads", "1"])
        == 0
    )
    assert {path.name for path in out.iterdir()} == {
        "lags.html",
        "lags.csv",
        "delays.csv",
        "summary.json",
        "tau.png",
        "graph.png",
    }
    assert "lags.html" in capsys.readouterr().out
    assert json.loads((out / "summary.json").read_text())["settings"]["own past"] == "at most 16 samples"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 800])
def test_a_browser_shows_the_page_without_overflow_or_errors(lags, world, tmp_path, width):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium; Debian's is the package of that name")
    recording = from_array(20 * world.x[0], 90.0, ["Pz", "O1#2", "C3.."])
    text = page(lags, recording, settings_of(lags, 0.01, 32))
    script = "document.title = document.documentElement.scrollWidth + ' of ' + window.innerWidth"
    (tmp_path / "lags.html").write_text(text.replace("</body>", f"<script>{script}</script></body>"))
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},1000", "--dump-dom",
         "--enable-logging=stderr", f"--user-data-dir={tmp_path}", (tmp_path / "lags.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    wide, inside = map(int, re.findall(r"<title>(\d+) of (\d+)</title>", done.stdout)[0])
    assert wide <= inside and "CONSOLE" not in done.stderr


@pytest.mark.data
@pytest.mark.slow
def test_a_real_ecg_claims_nothing_between_dependent_leads(tmp_path):
    record = MIRROR / "ptb-xl/1.0.3/records500/00000/00001_hr"
    if not record.with_suffix(".hea").is_file():
        pytest.skip(f"{record} is not there: no local mirror of the recordings")
    found = lags_of_recording(record)
    assert found.channels == ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]
    assert "dependent leads" not in set(found.table()["reading"]) and (found.table()["p_value"] > 0).all()
