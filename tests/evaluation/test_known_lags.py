"""Sets of known lags: readers, what is refused, metrics on small exact cases, and the real recordings."""

import csv
import hashlib
import pickle

import numpy as np
import pytest
from toys.paths import KNOWN_LAGS

from cldtrans.baselines.magnitude import Magnitude
from cldtrans.baselines.phase_slope import PhaseSlope
from cldtrans.data.known_lags.causal_rivers import GRAPHS, SERIES, read_graphs
from cldtrans.data.known_lags.sets import READERS, KnownSystem, get_reader, read_set
from cldtrans.errors import DataError
from cldtrans.evaluation.known_lags import auroc, every_other, outward, over_channels
from cldtrans.lag import pairwise_delays
from cldtrans.lag.single_source.common import hidden_source
from cldtrans.methods.estimators import LagEstimate
from cldtrans.methods.pairwise import Pairwise


def there(value):
    """What may be None by its type, and is not."""
    assert value is not None
    return value


def real(name):
    if not KNOWN_LAGS.is_dir():
        pytest.skip(f"{KNOWN_LAGS} is not there: no recordings with known lags")
    return read_set(name, str(KNOWN_LAGS))


@pytest.mark.parametrize("name", sorted(READERS))
def test_an_absent_set_is_one_line(name, tmp_path):
    for folder, why in ((None, "is null"), (str(tmp_path), "copy the set there")):
        known = read_set(name, folder)
        assert known.systems == [] and why in there(known.reason) and "\n" not in there(known.reason)
        assert known.truth == get_reader(name).truth


def test_an_unknown_set_is_told_with_what_was_meant():
    with pytest.raises(DataError, match=r"no set 'river'.*rivers"):
        get_reader("river")


def rivers(folder, n_days=400):
    rng = np.random.default_rng(0)
    first = np.cumsum(rng.standard_normal(n_days))
    flow = 100 * np.exp(0.1 * np.stack([np.roll(first, 2), first]))
    (folder / "danube").mkdir()
    np.savez(
        folder / "danube" / "danube_right_aligned.npz",
        discharge_m3s=flow.T, edges=np.array([[1, 0]]), station=np.array([1, 2]),
        river=np.array(["A", "A"]),
    )  # fmt: skip
    return folder / "danube" / "danube_right_aligned.npz"


def test_a_file_that_differs_from_its_checksum_is_refused(tmp_path):
    path = rivers(tmp_path)
    with (tmp_path / "MANIFEST.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(["file", "sha256"])
        table.writerow(["danube/danube_right_aligned.npz", hashlib.sha256(path.read_bytes()).hexdigest()])
    system = read_set("rivers", str(tmp_path)).systems[0]
    assert system.channels == ("A 1", "A 2") and there(system.edges).tolist() == [
        [False, True],
        [False, False],
    ]
    rivers_again = path.read_bytes()
    path.write_bytes(rivers_again + b" ")
    with pytest.raises(DataError, match="sha256 differs"):
        read_set("rivers", str(tmp_path))


class DiGraph:
    """Pickled under the name of networkx's class."""

    def __init__(self, edges):
        self._node: dict = {node: {} for edge in edges for node in edge}
        self._adj: dict = {node: {b: {} for a, b in edges if a == node} for node in self._node}


def write_graphs(path, edges):
    path.parent.mkdir(parents=True, exist_ok=True)
    DiGraph.__module__ = "networkx.classes.digraph"
    with pytest.MonkeyPatch.context() as patch:
        import sys
        import types

        for name in ("networkx", "networkx.classes", "networkx.classes.digraph"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setattr(sys.modules["networkx.classes.digraph"], "DiGraph", DiGraph, raising=False)
        path.write_bytes(pickle.dumps([DiGraph(edge) for edge in edges]))


def test_causal_rivers_reads_graphs_and_series(tmp_path):
    write_graphs(tmp_path / GRAPHS, [[(7, 8), (8, 9)], [(9, 7)]])
    times = np.datetime64("2020-01-01") + np.arange(4000) * np.timedelta64(15, "m")
    rng = np.random.default_rng(0)
    values = 10 + rng.random((4000, 3))
    rows = ["datetime,7,8,9", *(f"{t},{a},{b},{c}" for t, (a, b, c) in zip(times, values, strict=True))]
    (tmp_path / SERIES).parent.mkdir()
    (tmp_path / SERIES).write_text("\n".join(rows))
    first, second = read_set("causal-rivers", str(tmp_path)).systems
    assert first.channels == ("7", "8", "9") and there(first.edges)[1, 0] and there(first.edges)[2, 1]
    assert there(first.edges).sum() == 2 and first.sample_rate == 4 and first.x.shape[2] > 160
    assert second.channels == ("7", "9") and there(second.edges)[0, 1] and not there(second.edges)[1, 0]


class Harm:
    def __reduce__(self):
        return print, ("harm",)


def test_a_pickle_that_names_anything_but_graphs_is_refused(tmp_path, capsys):
    path = tmp_path / "graphs.p"
    path.write_bytes(pickle.dumps([Harm()]))
    with pytest.raises(DataError, match=r"builtins\.print is no graph"):
        read_graphs(path)
    assert capsys.readouterr().out == ""


def test_areas_and_their_intervals():
    edges = np.zeros((12, 12), bool)
    edges[np.arange(1, 12), np.arange(11)] = True
    rng = np.random.default_rng(0)
    good, none = edges + 0.1 * rng.random(edges.shape), rng.random(edges.shape)
    assert auroc(good, edges) == 1.0 and auroc(-good, edges) == 0.0
    low, high = over_channels(none, edges)
    assert low < 0.5 < high
    low, _ = over_channels(good, edges, none)
    assert low > 0.2


def test_an_offset_of_every_other_channel_is_found_beside_a_curve():
    channel = np.arange(32)
    arrival = 0.02 * (channel - 12.0) ** 2 + 0.97 * (channel % 2)
    found, weight = every_other(np.diff(arrival), None)
    np.testing.assert_allclose(found, -0.97, atol=0.05)
    assert (weight == 1).all()
    _, weight = every_other(np.diff(arrival), np.where(channel[1:] < 10, 0.1, 0.2))
    assert weight[0] == pytest.approx(4 * weight[-1])


def test_where_propagation_begins():
    delay = np.full((8, 8), np.nan)
    later = np.arange(1, 8)
    delay[later, later - 1] = [-2.0, -1.8, -2.2, 0.1, 2.1, 1.9, 2.0]
    outwards = np.zeros((8, 8), bool)
    outwards[later, later - 1] = True
    system = KnownSystem("line", np.zeros((1, 8, 4)), 1.0, 4.0, tuple("abcdefgh"), outwards=outwards)
    nothing = np.zeros((8, 8), bool)
    found = outward(system, LagEstimate(np.full((8, 8), np.nan), nothing, None, None, delay, 0 * delay + 0.1))
    assert found is not None and found[1] == 3
    np.testing.assert_allclose(found[0], [2.0, 1.8, 2.2, 0.1, 2.1, 1.9, 2.0])


def test_magnitude_and_phase_slope_know_their_truth():
    score = there(Magnitude()(np.zeros((1, 3, 4)), 1.0, 1.0, level=np.array([30.0, 10.0, 20.0])).score)
    assert score[0, 2] > score[0, 1] > score[1, 0] and score[2, 1] > score[1, 2]
    rng = np.random.default_rng(0)
    source = np.convolve(rng.standard_normal(8003), [1, 0.8, 0.5], "same")
    x = np.stack([source[3:], source[:-3]]) + 0.3 * rng.standard_normal((2, 8000))
    found = PhaseSlope()(x[None], 100.0, 0.1)
    assert found.support[1, 0] and not found.support[0, 1]
    assert there(found.delay)[1, 0] == pytest.approx(0.03, abs=0.004) and there(found.score)[1, 0] > 4


@pytest.mark.data
def test_rivers_flow_downstream():
    main, further = real("rivers").systems
    assert main.edges.sum() == 23 and further.edges.sum() == 7 and further.aside
    found = Pairwise()(main.x, main.sample_rate, main.tau_max_s)
    assert (there(found.delay)[main.edges] > 0).sum() >= 22
    rival = Magnitude()(main.x, main.sample_rate, main.tau_max_s, level=main.level)
    ours, theirs = there(found.score), there(rival.score)
    assert auroc(ours, main.edges) > 0.98 > 0.95 > auroc(theirs, main.edges)
    assert over_channels(ours, main.edges, theirs)[0] > 0
    pairs = pairwise_delays(main.x, main.sample_rate, main.tau_max_s)
    assert not hidden_source(main.x, main.sample_rate, pairs).explains


@pytest.mark.data
def test_potentials_travel_along_muscle_fibres():
    known, steps, begins = real("muscle"), [], []
    for system in known.systems:
        found = outward(
            system, Pairwise()(system.x, system.sample_rate, system.tau_max_s, band_hz=system.band_hz)
        )
        assert found is not None
        steps.append(found[0])
        begins.append(int(system.channels[found[1]].partition("-")[0]))
    assert 1.3e-3 <= np.median(np.concatenate(steps)) <= 2.7e-3
    assert max(begins) - min(begins) <= 4  # one innervation zone across the columns


def phat(x, rate, rows, columns):
    """Pairs' delays by the plain method: the whitened correlation's highest value, and a parabola."""
    spectrum = np.fft.rfft(x, 2 * x.shape[1])
    spectrum /= np.maximum(np.abs(spectrum), 1e-9 * np.abs(spectrum).max())
    curves = np.fft.irfft(spectrum[rows] * spectrum[columns].conj(), 16 * 2 * x.shape[1])
    curves = np.concatenate([curves[:, -256:], curves[:, :256]], 1)
    at = curves.argmax(1)
    before, here, after = (curves[np.arange(len(at)), at + k] for k in (-1, 0, 1))
    return (at - 256 + 0.5 * (before - after) / (before - 2 * here + after)) / 16 / rate


@pytest.mark.data
@pytest.mark.slow
def test_microphones_hear_one_source():
    held, offsets = [], []
    for system in real("microphones").systems:
        found = pairwise_delays(system.x, system.sample_rate, system.tau_max_s)
        first = np.arange(30)
        pair = (first + 2, first)
        error = {
            "ours": found.tau[pair] - system.tau[pair],
            "phat": phat(system.x[0], system.sample_rate, *pair) - system.tau[pair],
        }
        ours, plain = (system.sample_rate * np.sqrt(np.mean(error[name] ** 2)) for name in ("ours", "phat"))
        assert ours <= 1.02 * plain, system.name
        held.append(np.abs(found.tau[pair] - system.arrival[pair]) <= 1.96 * found.tau_stderr[pair])
        first = np.arange(31)
        offsets.append(every_other(found.tau[first + 1, first], found.tau_stderr[first + 1, first]))
        assert hidden_source(system.x, system.sample_rate, found).explains, system.name
    assert 0.88 <= np.mean(held) <= 0.99
    offset, weight = np.concatenate(offsets, axis=1)
    assert 48000 * np.average(offset, weights=weight) == pytest.approx(1.0, abs=0.02)
