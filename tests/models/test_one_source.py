"""One source in the lag network: what it explains, the gate, and the shares of the noises."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from toys import model as toy_model

from cldtrans.evaluation import planted
from cldtrans.lag import focal_lead
from cldtrans.lag.single_source.focal import read
from cldtrans.lag.single_source.order import precedence
from cldtrans.models.lag_inference.covariances import standardise
from cldtrans.models.lag_inference.evidence import Covariances, pairs
from cldtrans.models.lag_inference.network import LagInference
from cldtrans.models.lag_inference.one_source import OneSource, one_source
from cldtrans.models.lag_inference.reading import Gate

RATE_HZ, MAX_LAG = 160, 48
DELAY_S = np.array([0.06, 0.0, 0.11, 0.03, 0.2])


def discharges(n=3, snr_db=10.0, seed=0):
    """Windows [n, 5, 1600] in which channel 1 leads, windows of background beside them, and the mask."""
    rng = np.random.default_rng(seed)
    mixing = np.eye(5) + 0.3 * rng.standard_normal((5, 5))
    noise = mixing @ rng.standard_normal((n, 5, 5, 1600))
    wave = np.stack([planted.discharge(DELAY_S, 1600, 160.0, rng) for _ in range(n)])
    x = noise[:, 0] + 10 ** (snr_db / 20) * noise.std() * wave
    return torch.from_numpy(x), torch.from_numpy(noise[:, 1:]), torch.ones(n, 5, dtype=torch.bool)


def first_evidence(x, mask):
    return Covariances.of(*standardise(x, mask), MAX_LAG).evidence(4)[0]


@pytest.mark.parametrize("longest_s", [0.05, 0.3, 10.0])
def test_precedence_by_brute_force(longest_s):
    x, quiet, mask = discharges(1, 0.0)
    reading = read(x[:, None], 160.0, quiet, mask, 0.2)
    found = precedence(reading, longest_s)[0, 1].numpy()
    share = torch.softmax(reading.log_bayes[0, 1], -1).numpy() * reading.takes_part[0, 1, :, None].numpy()
    reach = round(longest_s / 0.00625)
    for i in range(5):
        for j in range(5):
            before = (share[j, max(0, d - reach) : d].sum() for d in range(share.shape[1]))
            expected = sum(p * q for p, q in zip(share[i], before, strict=True)) if i != j else 0.0
            assert found[i, j] == pytest.approx(expected, abs=1e-9)


def test_what_one_source_explains_is_what_focal_lead_says():
    x, quiet, mask = discharges()
    found = one_source(x, 160.0, mask, "eeg", MAX_LAG, quiet)
    for k in range(3):
        alone = focal_lead(x[k], 160.0, quiet[k])
        np.testing.assert_allclose(found.lead(found.log_share)[k], alone.log_posterior, atol=1e-9)
        best = int(found.log_share[k].argmax())
        later = found.later()[k, :, 1, best] / 160
        np.testing.assert_allclose(later, alone.delay, atol=1e-9)
        np.testing.assert_allclose(later, DELAY_S, atol=0.004)
        error = found.later_error()[k, [0, 2, 3, 4], 1, best] / 160
        np.testing.assert_allclose(error, alone.delay_stderr[[0, 2, 3, 4]], atol=1e-9)
    follows = found.follows[:, 1]
    assert (follows[:, [0, 2, 3], 1] > 0.9).all(), "they follow channel 1"
    assert (follows[:, 1] < 0.1).all(), "which follows nobody"


def test_lags_of_a_discharge_are_differences_of_arrivals_and_channel_1_leads():
    x, quiet, mask = discharges(4, 5.0)
    model = toy_model.make_model(torch.float64)
    with torch.no_grad():
        model.lag_inference.gate.out.bias.fill_(1.0)  # open
        out = model(x, 160.0, mask, "eeg", background=quiet)
    np.testing.assert_allclose(
        out.tau[:, [0, 2, 3, 4], 1], DELAY_S[[0, 2, 3, 4]][None].repeat(4, 0), atol=0.01
    )
    assert (out.focal_scores.argmax(1) == 1).all() and (out.lead.argmax(1) == 1).all()
    assert (out.edge_probability[:, :, 1].sum(1) > 3.5).all() and (out.edge_probability[:, 1] < 0.2).all()
    torch.testing.assert_close(out.lead.exp().sum(1), torch.ones(4, dtype=torch.float64))
    x, quiet, mask = discharges(4, -12.0)
    weak, alone = (model(x, 160.0, mask, "eeg", background=b).lead.exp() for b in (quiet, None))
    assert (weak - alone).abs().max() > 0.05, "the background is not read"


def test_it_depends_neither_on_masked_channels_nor_on_order_unit_or_batch():
    x, quiet, mask = discharges()
    order = torch.tensor([3, 0, 4, 2, 1])
    mask[:, 4] = False
    whole = one_source(x, 160.0, mask, "eeg", MAX_LAG, quiet)
    x[:, 4], quiet[:, :, 4] = torch.nan, torch.inf
    other = one_source(50 * x[:, order], 160.0, mask[:, order], "eeg", MAX_LAG, 50 * quiet[:, :, order])
    alone = one_source(x[1:2], 160.0, mask[1:2], "eeg", MAX_LAG, quiet[1])
    for field in fields(OneSource):
        a, b, c = (getattr(one, field.name) for one in (whole, other, alone))
        if field.name == "log_first":  # of what is all but impossible, rounding is left
            a, b, c = a.exp(), b.exp(), c.exp()
        expected = a
        for dim in range(1, a.dim()):
            if a.shape[dim] == 5:
                expected = expected.index_select(dim, order)
        if (
            a.dim() > 1 and a.shape[1] == whole.evidence.shape[1]
        ):  # where nothing is found, rounding says where it is
            a, b, c, expected = (values[:, :2] for values in (a, b, c, expected))
        torch.testing.assert_close(b, expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(c, a[1:2], rtol=1e-6, atol=1e-6)


def test_ecg_is_read_as_eeg_sampled_faster():
    x, quiet, mask = discharges()
    eeg = one_source(x, 160.0, mask, "eeg", MAX_LAG, quiet)
    ecg = one_source(x, 500.0, mask, "ecg", MAX_LAG, quiet)
    for field in fields(OneSource):
        torch.testing.assert_close(getattr(ecg, field.name), getattr(eeg, field.name), msg=field.name)


@pytest.mark.parametrize("shape", [(2, 5, 300), (2, 1, 1600)])
def test_where_no_source_can_be_sought_any_channel_may_lead(shape):
    mask = torch.ones(shape[:2], dtype=torch.bool)
    if shape[1] > 1:
        mask[1, 0] = False
    found = one_source(torch.randn(shape), 160.0, mask, "eeg", MAX_LAG)
    lead = found.lead(found.log_share)
    torch.testing.assert_close(lead.exp().sum(1), torch.ones(2))
    assert (lead[mask].unique().numel() == len(mask.sum(1).unique())) and (lead[~mask] == -torch.inf).all()
    assert not found.looked.any() and not found.follows.any()
    gate = Gate()
    torch.nn.init.constant_(gate.out.bias, 5.0)
    first = first_evidence(torch.randn(2, 5, 300).double(), torch.ones(2, 5, dtype=torch.bool))
    assert (gate(first, found, mask) == 0).all(), "a gate that nothing can open"


def test_a_fresh_gate_is_half_open_and_a_trained_one_tells_windows_apart_in_any_order_of_channels():
    x, quiet, mask = discharges(2)
    x[1] = quiet[1, 0]
    gate, order = Gate(), torch.randperm(5)
    first, source = first_evidence(x, mask), one_source(x, 160.0, mask, "eeg", MAX_LAG)
    assert (gate(first, source, mask) == 0.5).all()
    torch.nn.init.normal_(gate.out.weight, std=0.1)
    share = gate(first, source, mask)
    assert share.shape == (2,)
    apart = torch.logit(share[0].double()) - torch.logit(share[1].double())
    assert apart.abs() > 0.1
    x = x[:, order]
    other = gate(first_evidence(x, mask), one_source(x, 160.0, mask, "eeg", MAX_LAG), mask)
    torch.testing.assert_close(other, share, rtol=1e-5, atol=1e-6)


def test_fresh_shares_are_the_models_and_learned_ones_have_gradients_where_channels_are_missing():
    x, quiet, mask = discharges()
    mask[0, 3] = mask[1, 2] = False
    inference = toy_model.make_model(torch.float64).lag_inference
    assert isinstance(inference, LagInference)
    source = one_source(x, 160.0, mask, "eeg", MAX_LAG, quiet)
    shares = inference.shares
    torch.testing.assert_close(shares(source, mask), source.log_share)
    torch.nn.init.normal_(shares.out.weight)
    learned = shares(source, mask)
    assert not torch.allclose(learned, source.log_share, atol=0.1)
    torch.testing.assert_close(learned.exp().sum(1), torch.ones(3, dtype=torch.float64))
    lags = inference(x, mask, "eeg", source)
    lead = lags.lead
    assert (lead[mask] > -torch.inf).all() and (lead[~mask] == -torch.inf).all()
    (lead[mask].sum() + lags.edge_logit[pairs(mask)].sum()).backward()
    gradient = shares.out.weight.grad
    assert gradient is not None and gradient.isfinite().all() and gradient.abs().max() > 0


def test_a_source_is_looked_for_where_it_is_asked_for():
    x, quiet, mask = discharges()
    some = torch.tensor([False, True, False])
    found = one_source(x, 160.0, mask, "eeg", MAX_LAG, quiet, look=some)
    alone = one_source(x[1:2], 160.0, mask[1:2], "eeg", MAX_LAG, quiet[1:2])
    for field in fields(OneSource):
        assert torch.equal(getattr(found, field.name)[1:2], getattr(alone, field.name)), field.name
    assert found.looked.tolist() == [0, 1, 0]
    model = toy_model.make_model(torch.float64)
    none, every = (
        model.encode(x, 160.0, mask, "eeg", background=quiet, look=torch.full((3,), value)).lags
        for value in (False, True)
    )
    mixed = model.encode(x, 160.0, mask, "eeg", background=quiet, look=some).lags
    assert not none.driven.any() and (every.driven > 0).all()
    torch.testing.assert_close(mixed.tau[some], every.tau[some])
    torch.testing.assert_close(mixed.tau[~some], none.tau[~some])
    torch.testing.assert_close(mixed.edge_probability[~some], none.edge_probability[~some])
