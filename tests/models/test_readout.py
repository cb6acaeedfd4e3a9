"""The pooled vector against loops, counts and matrix functions of numpy and scipy."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import logm
from toys.model import make_model

from cldtrans.data.montages.places import places
from cldtrans.models.heads import HeadSpec
from cldtrans.models.modality import PATCH, RATE_HZ
from cldtrans.models.readout import covariance
from cldtrans.models.readout.across import across_channels
from cldtrans.models.readout.events import BANDS_HZ, OFFSETS, QUANTILE, Events
from cldtrans.models.readout.histogram import code_histogram

TWELVE = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def test_a_window_is_the_moments_and_maxima_of_its_valid_channels():
    channels = torch.randn(2, 4, 3, dtype=torch.float64)
    mask = torch.tensor([[True, True, False, True], [False] * 4])
    found = across_channels(channels, mask)
    there = channels[0, mask[0]].numpy()
    expected = np.concatenate([there.mean(0), np.sqrt(there.var(0) + 1e-8), there.max(0)])
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)
    assert found[1].isfinite().all() and not found[1, :3].any() and not found[1, 6:].any()


@pytest.mark.parametrize("modality", ["ecg", "eeg"])
def test_events_are_averages_by_loops(modality):
    torch.manual_seed(0)
    rate_hz, patch = RATE_HZ[modality], PATCH[modality]
    events: Any = Events(5).double()
    x = torch.randn(2, 3, 40 * patch, dtype=torch.float64)
    mask = torch.tensor([[True, True, True], [True, False, True]])
    latents = torch.randn(2, 3, 40, 5, dtype=torch.float64)
    around = events.around(x, mask, modality)
    found = events.average(around, events.narrowed(latents, modality)).detach().numpy()
    frequency = np.fft.rfftfreq(x.shape[-1], 1 / rate_hz)
    narrow = events.narrow[modality].weight.detach().numpy()
    first, last = OFFSETS[modality]
    sums = []
    for window in range(2):
        z = latents[window].numpy() @ narrow.T
        for low, high in BANDS_HZ[modality]:
            gain = np.exp(-(((frequency - (low + high) / 2) / ((high - low) / 2)) ** 4))
            y = np.fft.irfft(np.fft.rfft(x[window][mask[window]].numpy()) * gain, x.shape[-1])
            energy = (y**2).mean(0).reshape(-1, patch).mean(1) ** 2
            energy = np.minimum(energy, np.quantile(energy, QUANTILE))
            for offset in range(first, last + 1):
                there = [t for t in range(40) if 0 <= t + offset < 40]
                total = sum(energy[t] for t in there)
                sums.append(sum(energy[t] * z[:, t + offset] for t in there) / total)
    expected = np.array(sums).reshape(2, -1, 3, narrow.shape[0]).transpose(0, 2, 1, 3).reshape(2, 3, -1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)  # bands are float32
    assert found.shape[-1] == events.moments(modality) * events.numbers


def test_settling_keeps_the_principal_directions():
    rng = np.random.default_rng(0)
    latents = (
        rng.standard_normal((400, 40)) * np.linspace(3, 0.1, 40) @ np.linalg.qr(rng.normal(size=(40, 40)))[0]
    )
    events: Any = Events(40)
    counts = rng.integers(1, 9, 400)
    events.settle(torch.from_numpy(latents).float(), torch.from_numpy(counts).float(), "eeg")
    every = np.repeat(latents, counts, axis=0)
    directions = np.linalg.svd(every - every.mean(0), full_matrices=False)[2][:32]
    cosines = (events.narrow["eeg"].weight.detach().numpy() * directions).sum(1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-3)


def test_a_model_without_a_part_keeps_its_map_and_lacks_a_block():
    with_codes, without = make_model(), make_model(quantize=False)
    assert set(with_codes.blocks("ecg")) - set(make_model(layers=0).blocks("ecg")) == {"contexts"}
    for model, moves in ((with_codes, True), (without, False)):
        narrow: Any = model.readout.events.narrow
        before = narrow["ecg"].weight.clone()
        model.settle()
        assert torch.equal(narrow["ecg"].weight, before) != moves
    assert set(with_codes.blocks("ecg")) - set(without.blocks("ecg")) == {"codes"}


def test_a_histogram_is_the_root_of_frequencies():
    index = torch.randint(0, 9, (2, 3, 50))
    found = code_histogram(index, 9)
    for window in range(2):
        for channel in range(3):
            expected = np.sqrt(np.bincount(index[window, channel], minlength=9) / 50)
            np.testing.assert_allclose(found[window, channel], expected, rtol=1e-6)


def test_log_covariances_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 12, 3000)).cumsum(-1) * 0.1
    x -= x.mean(-1, keepdims=True)
    mask = np.ones((1, 12), dtype=bool)
    mask[0, 7] = False
    place = places(TWELVE, "ecg")
    windows, valid, where = (torch.from_numpy(value) for value in (x, mask, place[None]))
    found = covariance.log_covariance(windows, valid, where, "ecg")[0].numpy()
    anchors = places(covariance.ANCHORS["ecg"], "ecg")
    near = np.exp(covariance.SHARPNESS * (anchors @ place[mask[0]].T))
    virtual = near / near.sum(1, keepdims=True) @ x[0, mask[0]]
    copies = np.concatenate([virtual[:, 100 - k : 3000 - k] for k in (0, 10, 25, 50, 100)])
    matrix = np.cov(copies, bias=True)
    matrix += np.eye(len(matrix)) * covariance.FLOOR["ecg"] * np.trace(matrix) / len(matrix)
    row, column = np.triu_indices(len(matrix))
    expected = logm(matrix).real[row, column] * np.where(row == column, 1, np.sqrt(2))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(found) == covariance.covariance_width("ecg")


def test_bands_are_filtered_covariances_and_eigenvalues_count_valid_channels():
    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((1, 5, 800)), np.array([[True] * 3 + [False] * 2])
    found = covariance.log_eigenvalues(torch.from_numpy(x), torch.from_numpy(mask), "eeg")[0].numpy()
    frequency, spectrum, expected = np.fft.rfftfreq(800, 1 / 160), np.fft.rfft(x[0, :3]), []
    for low, high in covariance.BANDS_HZ:
        y = np.fft.irfft(spectrum * ((frequency >= low) & (frequency < high)), 800)
        values = np.linalg.eigvalsh(y @ y.T / 800)[::-1]
        expected += list(np.log(np.append(values, [0] * 5) + covariance.FLOOR["eeg"] * values.mean()))
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.fixture(scope="module")
def model():
    return make_model(torch.float64)


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 5), st.booleans())
def test_the_order_of_channels_changes_nothing(model, order, missing, unknown):
    generator = torch.Generator().manual_seed(missing)
    x = torch.randn(1, 6, 640, dtype=torch.float64, generator=generator)
    mask = torch.arange(6)[None] != missing
    place = torch.from_numpy(places(("Fp1", "C3", "Cz", "T8", "O1", "P4-O2"), "eeg"))
    if unknown:
        place[2] = torch.nan
    with torch.no_grad():
        a = model(x, 160.0, mask, "eeg", positions=place).pooled
        b = model(x[:, order], 160.0, mask[:, order], "eeg", positions=place[order]).pooled
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("modality", "names"), [("eeg", ("Fpz-Cz", "Pz-Oz")), ("ecg", ("II", "V1"))])
def test_few_channels_and_short_windows_are_read(model, modality, names):
    rate_hz, width = RATE_HZ[modality], model.n_features(modality)
    for seconds in (0.5, 3.0):
        x = torch.randn(2, len(names), round(seconds * rate_hz), dtype=torch.float64)
        with torch.no_grad():
            pooled = model(x, rate_hz, modality=modality, positions=names).pooled
            again = model(x, rate_hz, modality=modality, positions=names).pooled
        assert pooled.shape == (2, width) and pooled.isfinite().all() and torch.equal(pooled, again)


@pytest.mark.parametrize(("modality", "name"), [("eeg", "Cz"), ("ecg", "II")])
def test_one_channel_is_pooled(model, modality, name):
    x, mask = torch.randn(2, 1, 640, dtype=torch.float64), torch.ones(2, 1, dtype=torch.bool)
    pooled = model(x, RATE_HZ[modality], mask, modality, positions=(name,)).pooled
    assert pooled.shape == (2, model.n_features(modality)) and pooled.isfinite().all()


def test_units_reach_the_vector_and_masked_channels_do_not(model):
    x = torch.randn(1, 12, 2500, dtype=torch.float64)
    edges = dict(zip(model.blocks("ecg"), np.cumsum(list(model.blocks("ecg").values())), strict=True))
    mask = torch.ones(1, 12, dtype=torch.bool)
    mask[:, 3] = False
    other = torch.where(mask[..., None], x, torch.nan)
    with torch.no_grad():
        a, b, c = (model(v, 500.0, mask, "ecg", positions=TWELVE).pooled[0] for v in (x, 10 * x, other))
        nowhere = model(x, 500.0, mask, "ecg").pooled[0]
    torch.testing.assert_close(a, c)
    shapes, second = edges["codes"], edges["covariance"]
    torch.testing.assert_close(a[:shapes], b[:shapes])
    torch.testing.assert_close(a[second:] + np.log(100), b[second:])
    assert not torch.allclose(a[shapes:second], b[shapes:second])
    assert not nowhere[shapes:second].any() and torch.equal(nowhere[second:], a[second:])


def test_positions_are_as_many_as_channels(model):
    with pytest.raises(ValueError, match="positions are of shape"):
        model(torch.randn(1, 3, 800, dtype=torch.float64), 160.0, modality="eeg", positions=("Cz", "Pz"))


def test_fine_tuning_reaches_bands_and_maps():
    model = make_model()
    model.attach_head("task", HeadSpec("binary", ("no", "yes"), "ecg"))
    model(torch.randn(2, 12, 1500), 500.0, modality="ecg", positions=TWELVE).logits.sum().backward()
    events = model.readout.events
    for learned in (events.centre["ecg"], events.half_width["ecg"], events.narrow["ecg"].weight):
        assert learned.grad is not None and learned.grad.isfinite().all() and learned.grad.any()
