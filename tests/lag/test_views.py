"""What other libraries see of lags agrees with the fit, direction included."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch

from cldtrans import fit_ldsem, focal_lead, lags_of_recording
from cldtrans.data.recording import from_array
from cldtrans.errors import DataError
from cldtrans.lag import simulate_ldsem
from cldtrans.lag.views.pictures import draw, usual

NAMES = ["C3", "C4", "Cz", "Pz"]


@pytest.fixture(scope="module")
def world():
    return simulate_ldsem(
        4,
        60.0,
        90.0,
        window_s=60.0,
        edges_per_node=0.75,
        lag_range_s=(0.02, 0.08),
        self_dynamics="ar2",
        seed=1,
    )


@pytest.fixture(scope="module")
def fit(world):
    return fit_ldsem(world.x, 90.0, channels=NAMES)


def edges(support):
    return {(NAMES[j], NAMES[i]) for i, j in np.argwhere(support)}


def test_a_graph_points_from_source_to_target(fit, world):
    graph = fit.to_networkx()
    assert set(graph.edges) == edges(world.support) and set(graph) == set(NAMES)
    for source, target, about in graph.edges(data=True):
        assert about["tau_ms"] == 1e3 * fit.tau[NAMES.index(target), NAMES.index(source)]
    assert graph.graph["sample_rate"] == 90


def test_labelled_arrays_have_targets_in_rows(fit, world):
    labelled = fit.to_xarray()
    for source, target in edges(world.support):
        found = labelled.tau.sel(target=target, source=source)
        assert found == fit.tau[NAMES.index(target), NAMES.index(source)]
    assert labelled.attrs["tau_max"] == 0.1 and labelled.support.sum() == world.support.sum()


def test_mne_connectivity_has_sources_in_rows(fit):
    pytest.importorskip("mne_connectivity", reason="an extra: pip install 'cldtrans[connectivity]'")
    dense = fit.to_mne_connectivity().get_data("dense").squeeze()
    np.testing.assert_allclose(dense.T, 1e3 * fit.tau, equal_nan=True)
    with pytest.raises(DataError, match="value is 'tau'; known: source"):
        fit.to_mne_connectivity("tau")


def test_without_the_extra_a_line_says_what_to_install(fit, monkeypatch):
    monkeypatch.setitem(sys.modules, "mne_connectivity", None)
    with pytest.raises(DataError, match=r"pip install 'cldtrans\[connectivity\]'"):
        fit.to_mne_connectivity()


def test_text_is_short_and_names_the_edges(fit, world):
    assert len(repr(fit)) < 160 and f"{world.support.sum()} edges between 4 channels" in repr(fit)
    shown = dataclasses.replace(fit, warnings=["a <b> & c"])._repr_html_()
    assert "<table" in shown and "a &lt;b&gt; &amp; c" in shown and "C3" in shown


@pytest.mark.parametrize("kind", [None, "head", "heat_map", "ladder"])
def test_every_picture_has_the_edges(kind, fit, world):
    axes = fit.plot(kind)
    axes.figure.canvas.draw()
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    if kind == "heat_map":
        assert axes.images[0].get_array().count() == world.support.sum()
    else:
        assert len(arrows) == world.support.sum()
    words = [text.get_text() for text in axes.texts]
    assert ({"left", "right", "nose"} <= set(words)) == (kind in (None, "head"))


def test_a_rung_ends_when_the_target_comes(world):
    names = ["V6", "aVR", "I", "V1"]
    fit = fit_ldsem(world.x, 90.0, channels=names)
    axes = fit.plot()  # leads of an ECG
    assert [label.get_text() for label in axes.get_yticklabels()] == ["I", "aVR", "V1", "V6"]
    ends = sorted(patch._posA_posB[1][0] for patch in axes.patches)
    np.testing.assert_allclose(ends, np.sort(1e3 * fit.tau[fit.support]))
    with pytest.raises(DataError, match="kind is 'map'; known: heat_map, head, ladder"):
        fit.plot("map")


def test_the_picture_follows_the_names():
    assert [usual(names) for names in (["I", "aVR"], ["C3", "Fz"], ["a", "b"])] == [
        "ladder",
        "head",
        "heat_map",
    ]


def test_a_recording_shows_its_readings(world):
    lags = lags_of_recording(from_array(world.x[0], 90.0, NAMES), reference="none", band_hz=(0.5, 40.0))
    assert set(lags.to_frame()["reading"]) == {"lag"} and "4 channels (reference none)" in repr(lags)
    assert set(lags.to_networkx().edges) == edges(world.support)


@pytest.mark.parametrize("kind", ["head", "ladder"])
def test_a_withheld_edge_gets_no_arrow(kind, fit):
    claimed = dataclasses.replace(fit.pairs(), table=fit.pairs().table.assign(reading="lag", claim="edge"))
    withheld = dataclasses.replace(claimed, table=claimed.table.assign(claim="withheld"))
    arrows = [
        sum(isinstance(patch, FancyArrowPatch) for patch in draw(pairs, kind).patches)
        for pairs in (claimed, withheld)
    ]
    assert arrows == [len(claimed.table), 0]


def test_who_leads_has_a_row_a_channel_and_edges_to_those_that_follow():
    rng = np.random.default_rng(0)
    wave = np.convolve(rng.standard_normal(1600), np.hanning(12), "same")
    wave[:800] = 0
    x = np.stack([np.roll(wave, lag) for lag in (0, 8, 16)]) + 0.3 * rng.standard_normal((3, 1600))
    found = focal_lead(x, 160.0, 0.3 * rng.standard_normal((8, 3, 1600)))
    assert found.found and found.to_frame()["channel"].iloc[0] == 0 and len(found.to_frame()) == 3
    assert set(found.to_networkx().edges) == {("0", "1"), ("0", "2")}
    assert list(found.to_xarray().delay.dims) == ["channel"] and "is first with probability" in repr(found)
    assert "<table" in found._repr_html_()
    found.plot("head").figure.canvas.draw()


def test_the_package_is_imported_in_a_moment():
    """Names load on first use: no heavy library comes with the package alone."""
    script = "import cldtrans, sys; print(*sorted({'torch', 'mne', 'pandas', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
