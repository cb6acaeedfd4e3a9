"""The learned score of innovations, against densities whose score and efficiency are known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cldtrans.models.lag_inference.innovations import (
    SHARPNESS,
    SIZE,
    LearnedScoreFunction,
    functions,
    least_squares,
    slopes,
)

FAMILIES = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "student": lambda rng, shape: rng.standard_t(4.0, shape),
}


def draws(family, n, n_samples=1500, seed=0):
    """Residuals [n, T] of several scales."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.uniform(-2, 2, (n, 1)))
    return torch.from_numpy(scale * FAMILIES[family](rng, (n, n_samples)))


@pytest.fixture(scope="module")
def trained():
    """Of 300 steps on residuals of all families."""
    torch.manual_seed(0)
    moments = torch.cat([least_squares(draws(family, 400, seed=1)).moments for family in FAMILIES]).float()
    score = LearnedScoreFunction()
    optimiser = torch.optim.Adam(score.parameters(), 5e-3)
    for _ in range(300):
        loss = score.matching(moments[torch.randint(len(moments), (256,))]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return score


@given(st.sampled_from(sorted(FAMILIES)), st.integers(0, 1000))
@settings(max_examples=20)
def test_fresh_weights_are_least_squares(family, seed):
    e = draws(family, 3, seed=seed)
    answer, score = LearnedScoreFunction()(e), LearnedScoreFunction()
    torch.testing.assert_close(answer.pseudo, e)
    torch.testing.assert_close(answer.variance, e.square().mean(-1))
    torch.testing.assert_close(answer.efficiency, torch.ones(3, dtype=e.dtype))
    torch.testing.assert_close(score.matching(answer.moments), torch.zeros(3, dtype=e.dtype))


def test_slopes_are_the_mean_derivatives():
    e = draws("student", 5)
    _, values, gram = functions(e)
    u = values[:, 0].clone().requires_grad_()
    for column, sharp in enumerate((None, *SHARPNESS)):
        value = u if sharp is None else torch.tanh(sharp * u)
        (slope,) = torch.autograd.grad(value.sum(), u)
        torch.testing.assert_close(slopes(gram)[:, column], slope.mean(-1))


def test_no_combination_matches_better_than_the_one_in_closed_form(trained):
    """Score matching is quadratic in the coefficients: learned ones come near its minimum, never below."""
    for family in FAMILIES:
        moments = least_squares(draws(family, 200, seed=2)).moments
        gram = moments.unflatten(-1, (SIZE, SIZE))
        best = torch.linalg.solve(gram, slopes(gram)[..., None])[..., 0]
        least = 0.5 - 0.5 * (best * slopes(gram)).sum(-1)
        found = trained.matching(moments).detach()
        assert (found > least - 1e-9).all()
        assert float((found - least).mean()) < 0.05, family  # a window's own least is below its density's


@pytest.mark.parametrize(
    ("family", "least", "most"),
    [("gaussian", 0.97, 1.03), ("laplace", 1.5, 2.0), ("student", 1.25, 1.43)],
)
def test_a_trained_score_is_worth_the_data_that_theory_says(trained, family, least, most):
    """Variance of the mean of residuals over that of their pseudo-residuals, in 4000 windows.

    The bound of Cramer and Rao: 1, 2, and 2 (nu + 1) / (nu + 3) = 1.43 for Student's t with nu = 4 degrees.
    """
    e = draws(family, 4000, seed=3)
    e = e / e.square().mean(-1, keepdim=True).sqrt()
    answer = trained(e)
    spread = float(answer.pseudo.mean(-1).var())
    gain = float(e.mean(-1).var()) / spread
    assert least - 0.1 < gain < most + 0.1, gain
    assert least < float(answer.efficiency.mean()) < most
    told = float(answer.variance.mean()) / e.shape[-1]
    assert 0.9 < told / spread < 1.1, "the variance that is told is not the spread"


def test_a_score_that_tells_less_than_least_squares_is_not_used():
    score = LearnedScoreFunction()
    torch.nn.init.normal_(score.out.weight, std=3.0)
    e = draws("gaussian", 50)
    answer = score(e)
    assert (answer.efficiency >= 1).all() and (answer.variance <= e.square().mean(-1) + 1e-12).all()
    assert (answer.pseudo == e).all(-1).any()


def test_the_last_bits_of_parameters_do_not_count(trained):
    """Two ranks may differ in them: what they see of a window is to be the same."""
    e = draws("laplace", 20)
    answer = trained(e)
    other = LearnedScoreFunction().double()
    other.load_state_dict(trained.state_dict())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1 + 1e-14)
    assert torch.equal(other(e).pseudo, answer.pseudo)
