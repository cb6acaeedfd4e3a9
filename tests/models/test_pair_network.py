"""The network over pairs: silent when fresh, blind to what is not there, equivariant, and its own formula."""

import torch

from cldtrans.models.lag_inference.pair_network import PairNetwork


def trained() -> PairNetwork:
    torch.manual_seed(0)
    network = PairNetwork(3, 8, 2).double()
    torch.nn.init.normal_(network.out.weight)
    return network


def some_pairs(n_channels: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    features = torch.randn(2, n_channels, n_channels, 3, dtype=torch.float64)
    there = torch.ones(2, n_channels, dtype=torch.bool)
    there[1, -1] = False
    return features, there[:, :, None] & there[:, None] & ~torch.eye(n_channels, dtype=torch.bool)


def test_fresh_weights_say_nothing():
    assert not PairNetwork(3, 8, 2)(*some_pairs()).any()


def test_each_pair_sees_itself_its_reverse_and_three_means():
    network, (features, pair) = trained(), some_pairs()
    z = network.embed(features) * pair[..., None]
    told = network(features, pair)
    for b in range(2):
        for i, j in torch.nonzero(pair[b]).tolist():
            row, column = z[b, i][pair[b, i]].mean(0), z[b, :, j][pair[b, :, j]].mean(0)
            wide = torch.cat([z[b, i, j], z[b, j, i], row, column, z[b][pair[b]].mean(0)])
            torch.testing.assert_close(told[b, i, j], network.out(network.norm(network.mix(wide))))


def test_order_of_channels_and_what_is_not_there_do_not_matter():
    network, (features, pair) = trained(), some_pairs()
    order = torch.tensor([3, 0, 4, 1, 2])
    told = network(features, pair)
    permuted = network(features[:, order][:, :, order], pair[:, order][:, :, order])
    torch.testing.assert_close(permuted, told[:, order][:, :, order])
    other = torch.where(pair[..., None], features, 7.0)
    torch.testing.assert_close(network(other, pair)[pair], told[pair])
