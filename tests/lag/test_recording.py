"""`cldtrans lags`: any recording in, known lags out, one clear line for everything that cannot work."""

import dataclasses
from functools import partial

import mne
import numpy as np
import pandas as pd
import pytest
from scipy import signal
from toys.discharges import background
from toys.paths import MIRROR
from toys.sources import delayed

from cldtrans.cli import main
from cldtrans.data.miniature.edf_writer import EdfSignal, write_edf
from cldtrans.data.miniature.wfdb_writer import write_record
from cldtrans.data.montages.electrodes import closing_a_loop
from cldtrans.data.montages.montage import DOUBLE_BANANA
from cldtrans.data.recording import from_array, from_raw, open_recording
from cldtrans.errors import DataError
from cldtrans.evaluation import planted
from cldtrans.lag import fit_ldsem, simulate_ldsem
from cldtrans.lag.fit.progress import Watch
from cldtrans.lag.recording import cut_window, fit_window, lags_of_recording, lead_of
from cldtrans.lag.recording.figures import draw
from cldtrans.lag.recording.lags import SYSTEMATIC
from cldtrans.lag.recording.lead import cut_background
from cldtrans.lag.recording.report import heading, leading, render

RATE = 180
CHAINS = ["FP1-F7", "F7-T7", "FP2-F8", "F8-T8"]  # no loop


@pytest.fixture(scope="module")
def world():
    """One minute at 90 Hz, four channels, one edge a channel, and the same at 180 Hz."""
    sample = simulate_ldsem(
        4,
        60.0,
        90.0,
        window_s=60.0,
        edges_per_node=1.0,
        lag_range_s=(0.02, 0.08),
        self_dynamics="ar2",
        seed=1,
    )
    x = np.asarray(sample.x)[0]
    return sample, signal.resample(x, 2 * x.shape[1], axis=1)


@pytest.fixture(scope="module")
def edf(world, tmp_path_factory):
    """The world in steps of 0.03 microvolt, and a flat channel."""
    path = tmp_path_factory.mktemp("recording") / "known.edf"
    write_edf(
        path, [edf_signal(*pair) for pair in zip([*CHAINS, "ECG"], [*world[1], 0 * world[1][0]], strict=True)]
    )
    return path


def edf_signal(label, x):
    return EdfSignal(label, 20 * x, RATE, physical=(-1000.0, 1000.0))


def noise(n_channels=4, seconds=20.0, rate=RATE, seed=0):
    return np.random.default_rng(seed).laplace(size=(n_channels, round(seconds * rate)))


def test_known_lags_come_back_from_an_edf(world, edf, tmp_path, capsys):
    sample, _ = world
    assert main(["lags", str(edf), "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "lags.csv", comment="#")
    truth = {
        (CHAINS[j], CHAINS[i]): 1e3 * sample.tau[i, j]
        for i, j in zip(*np.nonzero(sample.support), strict=True)
    }
    assert set(zip(table["source"], table["target"], strict=True)) == set(truth)
    assert (table["reading"] == "lag").all() and (table["claim"] == "edge").all()
    assert "A causal claim" in printed and "No causal claim" in printed
    delays = pd.read_csv(tmp_path / "out" / "delays.csv")
    assert len(delays) == 6 and (delays["tau_ms"] >= 0).all()
    for row in table.itertuples():
        lag, shift = truth[row.source, row.target], 1e3 * SYSTEMATIC / 90
        assert row.tau_low_ms - shift < lag < row.tau_high_ms + shift
        assert f"{row.tau_ms:.2f}" in printed
    assert "left out: ECG" in printed and "The fit takes about" in printed
    for name in ("tau.png", "graph.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / "out").glob(".*"))


def interrupting(n_rounds: int):
    """A `Watch.step` that stands for Ctrl-C when as many rounds are done."""

    def step(watch: Watch, n_edges: int) -> None:
        if watch.n_rounds == n_rounds:
            raise KeyboardInterrupt
        watch.n_rounds += 1

    return step


def test_ctrl_c_gives_what_was_found_so_far(edf, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Watch, "step", interrupting(1))
    assert main(["lags", str(edf), "--output", str(tmp_path / "out")]) == 130
    out, err = capsys.readouterr()
    assert "interrupted before the search had ended" in " ".join(out.split())
    assert err.strip() == "cldtrans lags: interrupted: what was found until then is written"
    assert len(pd.read_csv(tmp_path / "out" / "lags.csv", comment="#")) > 0


def test_ctrl_c_before_anything_is_found_is_one_line(edf, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Watch, "step", interrupting(0))
    assert main(["lags", str(edf), "--output", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err.strip() == "cldtrans lags: interrupted"


def test_file_array_and_mne_recording_give_the_same(world, edf):
    raw = mne.io.read_raw_edf(edf, verbose="ERROR")
    cut = partial(cut_window, start_s=5.0, stop_s=35.0)
    from_file = cut(edf)
    assert from_file.channels == CHAINS
    from_mne = cut(raw)
    from_memory = cut(from_array(20 * world[1], RATE, CHAINS))
    for other in (from_mne, from_memory):
        assert other.channels == CHAINS
        scale = from_file.x.std() / other.x.std()
        assert np.corrcoef(from_file.x.ravel(), other.x.ravel())[0, 1] > 0.9999
        np.testing.assert_allclose(scale * other.x, from_file.x, atol=0.01 * from_file.x.std())


def test_the_filter_sees_beyond_the_window(edf):
    """A window is what filtering everything and cutting gives, up to its ends."""
    everything, part = cut_window(edf), cut_window(edf, 20.0, 40.0)
    first = round(20.0 * everything.rate_hz)
    expected = everything.x[:, first : first + part.x.shape[1]]
    np.testing.assert_allclose(part.x, expected, atol=2e-3 * expected.std())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", "50", "--stop", "70"], "the window 50 to 70 s is not inside the recording, 0 to 60 s"),
        (["--start", "-1"], "the window -1 to 60 s is not inside"),
        (["--start", "30", "--stop", "20"], "the window 30 to 20 s is not inside"),
        (["--channels", "F7-TT7", "FP1-F7"], "no channel 'F7-TT7'; did you mean 'F7-T7'?"),
        (["--channels", "FP1-F7"], "two channels or more are needed, found FP1-F7"),
        (["--channels", "ECG", "FP1-F7", "--reference", "none"], "channels ECG are flat in this window"),
        (["--stop", "0.1"], "too short for tau_max"),
        (["--stop", "1"], "use more or longer windows"),
        (["--band", "0.5", "95"], "needs a sampling rate above 190 Hz; the recording has 180 Hz"),
        (["--band", "40", "0.5"], "expected 0 < low < high"),
        (["--band", "8", "13"], "or gaussian innovations"),
        (["--tau-max", "0"], "both must be positive"),
        (["--alpha", "2"], "expected a probability"),
        (["--reference", "average"], "the channels are bipolar"),
        (["--reference", "laplacian"], "the channels are bipolar"),
    ],
)
def test_what_cannot_work_is_one_line_with_the_file(edf, tmp_path, capsys, options, message):
    assert main(["lags", str(edf), "--output", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"cldtrans lags: {edf}: ") and error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out" / "lags.csv").exists()


def test_files_that_are_no_recordings(tmp_path, capsys):
    text = tmp_path / "notes.txt"
    text.write_text("no recording")
    for path, message in [(tmp_path / "absent.edf", "no such file"), (text, "mne cannot read it")]:
        assert main(["lags", str(path), "--output", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert str(path) in error and message in error and error.count("\n") == 1


def test_all_flat_or_with_gaps():
    flat = from_array(np.zeros((3, 3600)), RATE, origin="flat.edf")
    with pytest.raises(DataError, match=r"flat.edf: two channels or more are needed.*flat from 0 to 20 s"):
        cut_window(flat)
    x = noise()
    x[1, 1000:1100] = np.nan
    with pytest.raises(DataError, match="channels 1 have gaps between 0 and 20 s"):
        cut_window(from_array(x, RATE))
    assert cut_window(from_array(x, RATE), channels=["0", "2"]).channels == ["0", "2"]
    assert np.isfinite(cut_window(from_array(x, RATE), start_s=8.0).x).all()


def test_channels_without_anything_of_their_own():
    x = noise(2)
    copies = from_array(np.stack([x[0], 2 * x[0], -x[0]]), RATE, ["A", "B", "C"], "copies")
    alone = "copies: no two independent channels: channel B is a linear combination of channels A"
    with pytest.raises(DataError, match=alone):
        lags_of_recording(copies, innovation="laplace")
    assert closing_a_loop(DOUBLE_BANANA) == [7, 15]
    assert closing_a_loop(["T7-P7", "P7-T7", "T8-P8", "T8-P8#2", "ECG", "ECG"]) == [1, 3]
    window = cut_window(from_array(noise(18), RATE, DOUBLE_BANANA))
    assert "P3-O1, P8-O2" in window.notes[0] and len(window.channels) == 16


def test_wfdb_record_by_any_of_its_names(tmp_path):
    digital = np.round(1000 * noise(3, rate=500)).astype(int).clip(-32000, 32000)
    write_record(tmp_path / "ecg", digital, ["I", "V1", "V2"], 500, 1000.0)
    for name in ("ecg", "ecg.hea", "ecg.dat"):
        recording = open_recording(tmp_path / name)
        assert recording.names == ["I", "V1", "V2"] and recording.rate_hz == 500
        np.testing.assert_allclose(recording.read(5, 9), digital[:, 5:9] / 1000, atol=1e-6)
    window = cut_window(tmp_path / "ecg")
    assert window.reference == "none" and window.innovation == "gaussian"


CAPS = {"EGI": "E", "BioSemi": "A", "mne": "EEG 00", "depth": "LA"}


@pytest.mark.parametrize("stem", CAPS.values(), ids=CAPS)
def test_numbered_electrodes_are_used_as_recorded_and_it_is_said(tmp_path, stem):
    names = [f"{stem}{i}" for i in range(1, 10)] + ["ECG"]
    path = tmp_path / "cap.edf"
    write_edf(path, [edf_signal(*pair) for pair in zip(names, noise(10, 5.0), strict=True)])
    window = cut_window(path)
    assert window.channels == names and window.reference == "none"
    said = " ".join(heading(window, 0.1).split())
    assert f"no electrode of the 10-05 system, found {', '.join(names[:8])} and 2 more" in said
    assert "no montage was derived" in said and "(--channels)" in said and "(--reference)" in said
    for chosen in ({"channels": names[:2]}, {"reference": "none"}):
        assert not cut_window(path, **chosen).notes
    with pytest.raises(
        DataError, match=f"needs scalp electrodes .*, found {names[0]}, .*; use reference none"
    ):
        cut_window(path, reference="average")


@pytest.mark.parametrize("names", [["I", "V1"], ["C3", "C4"], ["glucose", "price"]])
def test_nothing_is_said_of_electrodes_where_names_are_known_or_of_none(names):
    assert not cut_window(from_array(noise(2), RATE, names)).notes


def test_mne_formats_and_bad_channels(tmp_path):
    info = mne.create_info(["Fp1", "F7", "STI"], RATE, ["eeg", "eeg", "stim"])
    raw = mne.io.RawArray(1e-5 * noise(3), info, verbose="ERROR")
    raw.save(tmp_path / "test_raw.fif", verbose="ERROR")
    assert open_recording(tmp_path / "test_raw.fif").names == ["Fp1", "F7"]
    raw.info["bads"] = ["F7"]
    recording = from_raw(raw)
    assert recording.names == ["Fp1"] and "F7" in recording.notes[0]


@pytest.mark.parametrize("rate", [160.0, 199.997, 256.0, 500.0, 1024.0])
def test_band_fills_nine_tenths_of_the_spectrum(rate):
    window = cut_window(from_array(noise(2, rate=rate), rate))
    assert window.rate_hz == pytest.approx(80 / 0.9, rel=0.02)
    assert window.x.shape[1] == pytest.approx(20 * window.rate_hz, abs=1)
    power = (np.abs(np.fft.rfft(window.x)) ** 2).sum(0)
    frequency = np.fft.rfftfreq(window.x.shape[1], 1 / window.rate_hz)
    assert power[(frequency > 5) & (frequency < 30)].min() > 0
    assert power[frequency > 42].mean() < 0.2 * power[(frequency > 5) & (frequency < 30)].mean()


def test_implausible_weights_are_not_read_as_lags(world):
    lags = fit_window(cut_window(from_array(world[1], RATE, CHAINS)))
    inflated = dataclasses.replace(lags, fit=dataclasses.replace(lags.fit, weight=1e3 * lags.fit.weight))
    assert (inflated.table()["reading"] == "implausible").all()
    vague = dataclasses.replace(lags, fit=dataclasses.replace(lags.fit, tau_stderr=1e3 * lags.fit.tau_stderr))
    assert (vague.table()["reading"] == "undetermined").all()


def test_a_narrow_band_uses_its_frequencies_only(edf):
    band = (8.0, 13.0)
    window = cut_window(edf, 0.0, 30.0, CHAINS[:2], band_hz=band, innovation="gaussian")
    assert window.rate_hz == pytest.approx(26 / 0.9, rel=0.02)
    expected = fit_ldsem(window.x[None], window.rate_hz, 0.1, "gaussian", band_hz=band)
    assert fit_window(window).fit.log_likelihood == expected.log_likelihood


@pytest.mark.data
@pytest.mark.parametrize("lag", [0.37, 0.81, 3.62])
@pytest.mark.parametrize(
    ("file", "channels"),
    [
        ("chbmit/1.0.0/chb01/chb01_03.edf", ["C3-P3", "F3-C3"]),
        ("eegmmidb/1.0.0/S001/S001R01.edf", ["C3-P3", "F3-C3"]),
        ("ptb-xl/1.0.3/records500/00000/00001_hr", ["V2", "V3"]),
        ("ptb-xl/1.0.3/records500/00000/00001_hr", ["V5", "V4"]),
    ],
)
def test_real_recording_delayed_against_itself(file, channels, lag):
    """Band-limited, resampled to its band, delayed by a known part of a sample, with noise at 20 dB."""
    if not (MIRROR / file).with_suffix(".edf").exists() and not (MIRROR / f"{file}.hea").exists():
        pytest.skip(f"{MIRROR / file} is not there: no local mirror of the recordings")
    window = cut_window(MIRROR / file, channels=channels)
    source = window.x[0] - window.x[0].mean(dtype=float)
    even = np.concatenate([source, source[::-1]])  # no jump where the record wraps
    phase = np.exp(-2j * np.pi * np.fft.rfftfreq(len(even)) * lag)
    moved = np.fft.irfft(np.fft.rfft(even) * phase, len(even))[: len(source)]
    moved += 0.1 * source.std() * np.random.default_rng(0).standard_normal(len(source))
    both = dataclasses.replace(window, x=np.stack([source, moved]), channels=["source", "moved"])
    fit = fit_window(both, 12 / window.rate_hz).fit
    assert fit.support[1, 0]
    assert fit.tau[1, 0] * window.rate_hz == pytest.approx(lag, abs=0.02)


def test_edges_are_withheld_where_one_hidden_source_explains_as_much(tmp_path):
    delays = np.array([0, 1.4, 2.2, 3.1, 4.5])  # samples at the rate of the fit
    x = delayed(np.random.default_rng(5), delays, 2700, 0.6, 0.7)
    recording = from_array(50 * x, 90.0, ["a", "b", "c", "d", "e"])
    lags = lags_of_recording(recording, band_hz=(0.5, 40), innovation="gaussian")
    assert lags.source.explains and (lags.table()["claim"] == "withheld").all()
    text = render(lags)
    assert "no edge is a causal finding" in " ".join(text.split()) and "weight" not in text
    found = lags.delays.tau[1:, 0] * 90.0
    np.testing.assert_allclose(found, delays[1:], atol=0.3)
    draw(lags, "graph").savefig(tmp_path / "graph.png")


def test_a_single_source_is_named_where_there_is_one():
    names = ["C3-P3", "F7-T7", "F8-T8", "C4-P4"]
    delay_s = np.array([0.1, 0.0, 0.05, 0.15])
    quiet = np.concatenate(list(background(7, 3, 4).astype(float)), axis=-1)
    discharge = np.zeros_like(quiet)
    discharge[:, 4800:6400] = planted.discharge(delay_s, 1600, 160.0, np.random.default_rng(3))
    recording = from_array(quiet + 3 * discharge, 160.0, names)
    assert "it is first in F7-T7 (" in render(
        lags_of_recording(recording, start_s=32, stop_s=40, band_hz=(1, 20))
    )
    window = cut_window(recording, 20, 30)
    beside = cut_background(recording, window)
    assert beside is not None and beside.shape[:2] == (2, 4)  # those before it, and not the four after it
    after = cut_background(recording, cut_window(recording, 0, 15))
    assert after is not None and after.shape[:2] == (5, 4)  # where there is none before
    found = lead_of(recording, window)
    assert found is not None and "No single leading channel" in leading(found, names)
    assert lead_of(recording, cut_window(recording, 15, 55)) is None  # too little beside it
    assert lead_of(recording, cut_window(recording, 20, 21.9)) is None
    unknown = from_array(quiet + 3 * discharge, 160.0, ["a", "b", "c", "d"])
    assert lead_of(unknown, cut_window(unknown, 32, 40)) is None  # of the scalp alone
