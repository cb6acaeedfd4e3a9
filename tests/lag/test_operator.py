"""Fractional delay and lagged mixture: against the kernel's definition, a dense operator, symmetry."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cldtrans.lag.operator as operator_module
from cldtrans.lag import delay, lagged_mix
from cldtrans.lag.operator import _LaggedMix, _SmallMix, _transform_length, fast_max_delay

RATE_HZ = 160.0
torch.manual_seed(0)


def kernel_delay(x: np.ndarray, lag: float, n: int) -> np.ndarray:
    """Sum over the periodic sinc on n samples, of x [T] taken as zero elsewhere."""
    t = np.arange(len(x))
    d = t[:, None] - t - lag
    with np.errstate(divide="ignore", invalid="ignore"):
        closing = np.sin(np.pi * d / n) if n % 2 else np.tan(np.pi * d / n)
        kernel = np.sin(np.pi * d) / (n * closing)
    kernel[np.abs(d) < 1e-12] = 1.0
    return kernel @ x


def length(n_samples: int, max_delay: float) -> int:
    return n_samples + 2 * (math.ceil(max_delay * RATE_HZ) + 64)


def world(b=2, c=3, t=50, d=None, per_window=False, dtype=torch.float64, max_delay=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x = draw(b, c, t) if d is None else draw(b, c, t, d)
    shape = (b, c, c) if per_window else (c, c)
    tau = (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * max_delay
    return x.to(dtype), draw(*shape).to(dtype), tau.to(dtype)


def dense_mix(x, weight, tau, *, n):
    """Every delayed pair, by plain autograd."""
    signals = x if x.ndim == 4 else x[..., None]
    spectrum = torch.fft.rfft(signals, n, dim=2)
    frequency = torch.fft.rfftfreq(n, 1 / RATE_HZ, dtype=tau.dtype)
    phase = torch.exp(-2j * math.pi * frequency * tau[..., None])
    phase = phase if tau.ndim == 3 else phase[None]
    pairs = torch.fft.irfft(phase[..., None] * spectrum[:, None], n, dim=3)[..., : signals.shape[2], :]
    weight = weight if weight.ndim == 3 else weight[None]
    return (weight[..., None, None] * pairs).sum(2).view(x.shape)


@pytest.mark.parametrize("n_samples", [40, 41])
@pytest.mark.parametrize("tau", [0.0, 3 / RATE_HZ, 0.37 / RATE_HZ, -0.61 / RATE_HZ, 0.0789, -0.2])
def test_delay_is_the_defined_kernel(n_samples, tau):
    x = torch.randn(n_samples, dtype=torch.float64)
    expected = kernel_delay(x.numpy(), tau * RATE_HZ, length(n_samples, abs(tau)))
    np.testing.assert_allclose(delay(x, tau, RATE_HZ).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("n_samples", [40, 41])
@pytest.mark.parametrize("d", [None, 1, 2])
@pytest.mark.parametrize("per_window", [False, True])
@pytest.mark.parametrize("operator", [_SmallMix, _LaggedMix])
def test_lagged_mix_is_the_defined_kernel(n_samples, d, per_window, operator, monkeypatch):
    force(monkeypatch, operator)
    x, weight, tau = world(t=n_samples, d=d, per_window=per_window)
    n = length(n_samples, float(tau.abs().max()))
    signals = x.numpy().reshape(2, 3, n_samples, -1)
    expected = np.zeros_like(signals)
    for b in range(2):
        w, lag = (v[b] if per_window else v for v in (weight.numpy(), tau.numpy() * RATE_HZ))
        for i, j, k in np.ndindex(3, 3, signals.shape[3]):
            expected[b, i, :, k] += w[i, j] * kernel_delay(signals[b, j, :, k], lag[i, j], n)
    result = lagged_mix(x, weight, tau, RATE_HZ)
    assert result.shape == x.shape
    np.testing.assert_allclose(result.numpy().reshape(signals.shape), expected, atol=1e-10)


def force(monkeypatch, operator):
    """Both implementations on small data, the blocked one with several uneven blocks."""
    if operator is _LaggedMix:
        monkeypatch.setattr(operator_module, "_SMALL_ENTRIES", 0)
        monkeypatch.setitem(operator_module._ENTRIES_PER_BLOCK, "cpu", 9 * 7)


@pytest.mark.parametrize("operator", [_SmallMix, _LaggedMix])
@pytest.mark.parametrize("n_samples", [10, 11])
@pytest.mark.parametrize(("d", "per_window"), [(None, False), (None, True), (2, False), (2, True)])
def test_gradients(operator, n_samples, d, per_window, monkeypatch):
    force(monkeypatch, operator)
    inputs = [v.requires_grad_() for v in world(t=n_samples, d=d, per_window=per_window)]
    assert torch.autograd.gradcheck(lambda *v: lagged_mix(*v, RATE_HZ, max_delay=0.15), inputs)


def test_delay_gradients():
    x = torch.randn(2, 3, 21, dtype=torch.float64, requires_grad=True)
    for shape in ((2, 3), (3,), (2, 1), ()):
        tau = (torch.rand(shape, dtype=torch.float64) * 0.1 - 0.05).requires_grad_()
        assert torch.autograd.gradcheck(lambda a, b: delay(a, b, RATE_HZ, max_delay=0.06), (x, tau))


def test_a_second_derivative_is_refused():
    x, weight, tau = (v.requires_grad_() for v in world())
    for output in (lagged_mix(x, weight, tau, RATE_HZ), delay(x, tau[:2, 0, None], RATE_HZ)):
        with pytest.raises(RuntimeError, match="no second derivative"):
            torch.autograd.grad(output.sum(), tau, create_graph=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("per_window", [False, True])
@pytest.mark.parametrize("shape", [(3, 6, 300, None), (2, 5, 211, 3), (1, 40, 200, 1)])
def test_outputs_and_gradients_equal_the_dense_operator(dtype, tolerance, per_window, shape):
    b, c, t, d = shape
    inputs = [v.requires_grad_() for v in world(b, c, t, d, per_window, dtype)]
    cotangent = torch.randn(inputs[0].shape, dtype=dtype)
    n = length(t, float(inputs[2].detach().abs().max()))
    ours = lagged_mix(*inputs, RATE_HZ)
    dense = dense_mix(*inputs, n=n)
    pairs = zip(
        (ours, *torch.autograd.grad(ours, inputs, cotangent)),
        (dense, *torch.autograd.grad(dense, inputs, cotangent)),
        strict=True,
    )
    for mine, theirs in pairs:
        assert mine.dtype == dtype
        assert torch.linalg.norm(mine - theirs) <= tolerance * torch.linalg.norm(theirs)


def test_sine_delayed_by_a_fraction_of_a_sample():
    t = torch.arange(1600, dtype=torch.float64) / RATE_HZ
    envelope = torch.exp(-(((t - 5) / 0.8) ** 2))
    late = 0.37 / RATE_HZ
    x = torch.sin(2 * math.pi * 11.3 * t) * envelope
    expected = torch.sin(2 * math.pi * 11.3 * (t - late)) * torch.exp(-(((t - late - 5) / 0.8) ** 2))
    torch.testing.assert_close(delay(x, late, RATE_HZ), expected, atol=1e-8, rtol=0)
    early = delay(expected, -late, RATE_HZ)
    torch.testing.assert_close(early, x, atol=1e-8, rtol=0)


@pytest.mark.parametrize("sign", [1, -1])
def test_nothing_wraps_into_the_window(sign):
    x = torch.zeros(1, 1, 400, dtype=torch.float64)
    x[..., :40] = x[..., -40:] = 1.0
    shifted = lagged_mix(x, torch.ones(1, 1), torch.full((1, 1), sign * 50 / RATE_HZ), RATE_HZ)[0, 0]
    expected = torch.zeros(400, dtype=torch.float64)
    if sign > 0:
        expected[50:90] = 1.0
    else:
        expected[-90:-50] = 1.0
    # tau is float32 here: a lag of 50 samples to 1e-5.
    torch.testing.assert_close(shifted, expected, atol=1e-4, rtol=0)


@settings(max_examples=25)
@given(
    c=st.integers(1, 7),
    b=st.integers(1, 3),
    t=st.integers(8, 90),
    d=st.sampled_from([None, 1, 3]),
    per_window=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_permuting_channels_permutes_the_output(c, b, t, d, per_window, seed):
    x, weight, tau = world(b, c, t, d, per_window, seed=seed)
    order = torch.randperm(c, generator=torch.Generator().manual_seed(seed))

    def permuted(m):
        return m[..., order, :][..., order]

    expected = lagged_mix(x, weight, tau, RATE_HZ)[:, order]
    result = lagged_mix(x[:, order], permuted(weight), permuted(tau), RATE_HZ)
    torch.testing.assert_close(result, expected, atol=1e-11, rtol=1e-9)


@settings(max_examples=25)
@given(t=st.integers(4, 70), lag=st.floats(-30, 30), seed=st.integers(0, 1000))
def test_the_adjoint_of_a_delay_is_an_advance(t, lag, seed):
    x, y = torch.randn(2, t, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    later, sooner = delay(x, lag / RATE_HZ, RATE_HZ), delay(y, -lag / RATE_HZ, RATE_HZ)
    torch.testing.assert_close((later * y).sum(), (x * sooner).sum(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("d", [None, 2])
@pytest.mark.parametrize("autocast", [False, True])
def test_lower_precisions_agree_with_float64(d, autocast):
    x, weight, tau = world(2, 8, 400, d, max_delay=0.3)
    exact = lagged_mix(x, weight, tau, RATE_HZ, max_delay=0.31)
    scale = exact.abs().max()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        single = lagged_mix(x.float(), weight.float(), tau.float(), RATE_HZ, max_delay=0.31)
        half = lagged_mix(x.bfloat16(), weight, tau, RATE_HZ, max_delay=0.31)
    assert single.dtype == torch.float32 and half.dtype == torch.bfloat16
    assert (single - exact).abs().max() < 5e-6 * scale
    # The input's own rounding to 8 bits and the output's, nothing worse.
    assert (half - exact).abs().max() < 0.02 * scale


def test_gradients_keep_the_dtype_of_their_input_under_autocast():
    x, weight, tau = world(1, 4, 64)
    inputs = [v.requires_grad_() for v in (x.bfloat16(), weight.float(), tau)]
    with torch.autocast("cpu", torch.bfloat16):
        grads = torch.autograd.grad(lagged_mix(*inputs, RATE_HZ).float().sum(), inputs)
    assert [g.dtype for g in grads] == [v.dtype for v in inputs]


def test_shared_and_per_window_may_be_mixed():
    x, weight, tau = world(3, 4, 60)
    stacked = torch.stack([tau] * 3)
    torch.testing.assert_close(
        lagged_mix(x, weight, stacked, RATE_HZ), lagged_mix(x, weight, tau, RATE_HZ), atol=1e-12, rtol=0
    )


def test_noncontiguous_input():
    x, weight, tau = world(2, 3, 60, 4)
    twisted = x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    result = lagged_mix(twisted, weight.T.contiguous().T, tau, RATE_HZ)
    torch.testing.assert_close(result, lagged_mix(x, weight, tau, RATE_HZ), atol=1e-12, rtol=0)


def test_transform_length_is_the_defined_one():
    x = torch.zeros(1, 1, 100)
    for value, n in ((0.0, 228), (0.1 / RATE_HZ, 230), (-2.5 / RATE_HZ, 234)):
        assert _transform_length(x, torch.tensor([value], dtype=torch.float64), RATE_HZ, 100, None) == n
    limit = fast_max_delay(1600, 0.25, RATE_HZ)
    assert limit >= 0.25 and length(1600, limit) == 1920
    assert fast_max_delay(1600, 0.0, RATE_HZ) == 0.0  # 1728 = 2^6 * 3^3 already
    assert fast_max_delay(1600, 35.9 / RATE_HZ, RATE_HZ) == 35.9 / RATE_HZ  # 1800 = 2^3 * 3^2 * 5^2


@pytest.mark.parametrize(
    ("shapes", "parts"),
    [
        (((2, 3), (3, 3), (3, 3)), ["(2, 3)", "[B, C, T]"]),
        (((2, 3, 20), (4, 4), (3, 3)), ["weight", "(4, 4)", "(2, 3, 20)"]),
        (((2, 3, 20), (3, 3), (5, 3, 3)), ["tau", "(5, 3, 3)", "(2, 3, 20)"]),
    ],
)
def test_wrong_shapes_are_named(shapes, parts):
    with pytest.raises(ValueError) as error:
        lagged_mix(*(torch.zeros(s) for s in shapes), RATE_HZ)
    assert all(part in str(error.value) for part in parts)


def test_other_wrong_input():
    x, weight, tau = world()
    with pytest.raises(ValueError, match=r"\(4,\).*\(2, 3, 50\)"):
        delay(x, torch.zeros(4), RATE_HZ)
    with pytest.raises(ValueError, match="NaN"):
        lagged_mix(x, weight, tau * torch.nan, RATE_HZ)
    with pytest.raises(ValueError, match="beyond max_delay"):
        lagged_mix(x, weight, tau, RATE_HZ, max_delay=0.01)
    with pytest.raises(ValueError, match="sample_rate"):
        lagged_mix(x, weight, tau, 0.0)
    with pytest.raises(TypeError, match="int64"):
        delay(torch.arange(5), 0.0, RATE_HZ)


def test_only_the_wanted_gradients_are_made():
    x, weight, tau = world()
    weight.requires_grad_()
    lagged_mix(x, weight, tau, RATE_HZ).sum().backward()
    assert weight.grad is not None and x.grad is None and tau.grad is None
