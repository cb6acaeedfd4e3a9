"""Named readouts of who leads, by loops and where the order is known."""

import numpy as np
import pytest
import torch

from cldtrans.models.readouts import READOUTS, arrival, first, focal_scores, literal, net_lead, out_degree


def test_sums_are_those_of_their_formulas():
    tau, p = torch.rand(2, 4, 4), torch.rand(2, 4, 4)
    for b in range(2):
        for k in range(4):
            outgoing = sum(float(p[b, i, k] * tau[b, i, k]) for i in range(4))
            incoming = sum(float(p[b, k, j] * tau[b, k, j]) for j in range(4))
            degree = sum(p[b, :, k].tolist()) - sum(p[b, k].tolist())
            assert float(net_lead(tau, p)[b, k]) == pytest.approx(outgoing - incoming, abs=1e-5)
            assert float(literal(tau, p)[b, k]) == pytest.approx(-sum(tau[b, k].tolist()), abs=1e-5)
            assert float(out_degree(tau, p)[b, k]) == pytest.approx(degree, abs=1e-5)


def test_the_first_is_followed_and_follows_nobody():
    p = 0.05 + 0.9 * torch.rand(2, 4, 4, dtype=torch.float64)
    found = first(torch.zeros(2, 4, 4), p)
    for b in range(2):
        for k in range(4):
            alone = np.prod([1 - float(p[b, k, j]) for j in range(4)])
            assert float(found[b, k]) == pytest.approx(np.log(max(p[b, :, k].tolist()) * alone), abs=1e-6)
    certain = torch.zeros(1, 3, 3)
    certain[0, 1:, 0] = certain[0, 2, 1] = 1.0
    assert first(certain, certain)[0].isfinite().all() and int(first(certain, certain)[0].argmax()) == 0


def test_a_chain_arrives_link_by_link():
    tau, p = torch.zeros(1, 5, 5, dtype=torch.float64), torch.zeros(1, 5, 5, dtype=torch.float64)
    for target, source, lag in ((2, 0, 0.02), (1, 2, 0.05), (4, 1, 0.01)):  # 0 -> 2 -> 1 -> 4; 3 alone
        tau[0, target, source], p[0, target, source] = lag, 1.0
    later = -arrival(tau, p)[0]
    torch.testing.assert_close(
        later[[2, 1, 4]] - later[0], torch.tensor([0.02, 0.07, 0.08], dtype=torch.float64), rtol=0, atol=1e-3
    )
    assert later[0] < later[3] < later[4], "a channel without edges is in the middle"


@pytest.mark.parametrize("name", READOUTS)
def test_masked_channels_never_lead(name):
    tau, p, mask = torch.rand(1, 4, 4), torch.rand(1, 4, 4), torch.tensor([[True, False, True, True]])
    scores = focal_scores(tau, p, mask, name)
    assert scores[0, 1] == -torch.inf and scores[0, [0, 2, 3]].isfinite().all()


def test_a_readout_is_known_by_name():
    with pytest.raises(ValueError, match="'loudest'; known: first, net_lead"):
        focal_scores(
            torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), torch.ones(1, 2, dtype=torch.bool), "loudest"
        )
