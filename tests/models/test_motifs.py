"""The codebook: clusters that are known, dead entries, micro-batches."""

import torch

from cldtrans.models.motifs import Codebook, perplexity


def test_codebook_follows_clusters_and_revives_dead_entries():
    torch.manual_seed(0)
    centres = torch.randn(16, 8)
    book = Codebook(16, 8).train()
    for _ in range(60):
        z = centres[torch.randint(16, (512,))] + 0.05 * torch.randn(512, 8)
        codes = book(z, torch.ones(512, dtype=torch.bool))
        book.update()
    assert codes.distance.mean() < 0.05
    assert perplexity(codes.index, 16) > 12
    gap = torch.cdist(centres, book.entries).min(1).values
    assert (gap < 0.2).sum() >= 13, "nearly every cluster has an entry"
    z = torch.randn(4, 8, requires_grad=True)
    book(z, torch.ones(4, dtype=torch.bool)).latents.sum().backward()
    assert z.grad is not None and (z.grad == 1).all(), "straight through"


def test_codes_and_gradients_are_those_of_the_composed_formula():
    torch.manual_seed(0)
    book = Codebook(16, 8).double()
    z = torch.randn(3, 5, 8, dtype=torch.float64, requires_grad=True)
    toward, apart = torch.randn(3, 5, 8, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    codes = book(z, torch.ones(3, 5, dtype=torch.bool))
    nearest = torch.cdist(z.detach(), book.entries.expand(3, -1, -1)).argmin(-1)
    entries = book.entries[nearest]
    distance = (z - entries).square().mean(-1)
    assert torch.equal(codes.index, nearest) and torch.equal(codes.latents, entries)
    torch.testing.assert_close(codes.distance, distance)
    found, expected = (
        torch.autograd.grad((latents * toward).sum() + (value * apart).sum(), z)[0]
        for latents, value in (
            (codes.latents, codes.distance),
            (z + (entries - z).detach(), distance),
        )
    )
    torch.testing.assert_close(found, expected)


def test_codebook_does_not_depend_on_micro_batches():
    torch.manual_seed(0)
    whole, parts = Codebook(8, 4).double().train(), Codebook(8, 4).double().train()
    parts.load_state_dict(whole.state_dict())
    for _ in range(5):
        z = torch.randn(96, 4, dtype=torch.float64)
        whole(z, torch.ones(96, dtype=torch.bool))
        for part in z.split(32):
            parts(part, torch.ones(32, dtype=torch.bool))
        whole.update()
        parts.update()
        torch.testing.assert_close(whole.entries, parts.entries, rtol=1e-9, atol=1e-12)


def test_masked_channels_do_not_move_the_codebook():
    torch.manual_seed(0)
    alone, beside = Codebook(8, 4).double().train(), Codebook(8, 4).double().train()
    beside.load_state_dict(alone.state_dict())
    z = torch.randn(2, 3, 20, 4, dtype=torch.float64)
    valid = torch.tensor([True, True, False])[:, None].expand(2, 3, 20)
    for _ in range(3):
        alone(z[:, :2], valid[:, :2])
        beside(z, valid)
        alone.update()
        beside.update()
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(beside.state_dict()[name], value, msg=name)
