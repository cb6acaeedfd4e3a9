"""One hidden source against edges, where it is known which of them there are."""

import numpy as np
import pytest
from toys.sources import delayed

from cldtrans.lag import pairwise_delays, simulate_ldsem
from cldtrans.lag.single_source.common import arrivals, hidden_source, one_factor

RATE_HZ, TAU_MAX_S = 160.0, 0.1


def asked(x):
    return hidden_source(x, RATE_HZ, pairwise_delays(x, RATE_HZ, TAU_MAX_S))


def driven(parent, n_samples=12000, seed=0, strength=1.2):
    """A tree: each channel gets its parent's past of three samples, and what is new."""
    x = np.random.default_rng(seed).laplace(size=(len(parent), n_samples))
    for child, above in enumerate(parent):
        if above is not None:
            x[child, 3:] += strength * x[above, :-3] / x[above].std()
    return x


@pytest.mark.parametrize(("n_channels", "noise"), [(4, 1.0), (8, 1.0), (8, 0.3), (24, 0.5)])
def test_a_hidden_source_is_found_with_its_arrivals(n_channels, noise):
    delays = np.random.default_rng(n_channels).uniform(0, 4, n_channels)
    found = asked(delayed(np.random.default_rng(1), delays, 12000, noise, 0.8))
    assert found.explains
    np.testing.assert_allclose(found.arrival, (delays - delays.min()) / RATE_HZ, atol=0.2 / RATE_HZ)
    assert "one hidden source explains" in found.sentence()


@pytest.mark.parametrize(
    "parent",
    [[None, 0, 1, 2, 3, 4], [None, 0, 0, 0, 0], [None, 0, 0, 1, 1, 2, 2], [None] + [0] * 15],
    ids=["chain", "star", "tree", "wide star"],
)
def test_a_tree_of_edges_is_no_hidden_source(parent):
    found = asked(driven(parent))
    assert found.misfit < 1  # delays add up there as well
    assert not found.explains and "does not explain" in found.sentence()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_edges_with_cycles_are_no_hidden_source(seed):
    world = simulate_ldsem(
        n_channels=8, duration_s=120, lag_range_s=(0.00625, 0.05), self_dynamics="ar2", seed=seed
    )
    found = asked(np.asarray(world.x))
    assert found.misfit > 1 and not found.explains


def test_nothing_coherent_and_too_few_channels():
    assert not asked(np.random.default_rng(0).standard_normal((6, 8000))).explains
    few = asked(delayed(np.random.default_rng(1), [0, 1, 2], 8000, 0.3))
    assert not few.explains and "cannot tell" in few.sentence()


def test_arrivals_and_factor_are_the_exact_ones():
    rng = np.random.default_rng(2)
    at = rng.standard_normal(6)
    np.testing.assert_allclose(
        arrivals(at[:, None] - at, rng.uniform(1, 2, (6, 6))), at - at.mean(), atol=1e-9
    )
    loading = np.exp(2j * np.pi * rng.random((3, 6))) * rng.uniform(0.4, 0.8, (3, 6))
    exact = loading[:, :, None] * loading[:, None].conj()
    exact[:, np.arange(6), np.arange(6)] = 1
    found, own = one_factor(exact)
    np.testing.assert_allclose(np.abs(found), np.abs(loading), atol=1e-3)
    np.testing.assert_allclose(own, 1 - np.abs(loading) ** 2, atol=2e-3)
