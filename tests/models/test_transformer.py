"""The transformer against loops over channels, sources and tokens; what it may and may not see."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from toys.model import SETTINGS, make_model, worlds

from cldtrans.config import ModelConfig
from cldtrans.lag.operator import GUARD_SAMPLES, fast_max_delay
from cldtrans.models.modality import PATCH, RATE_HZ
from cldtrans.models.transformer import LEAST, Context, Heard, Layer

TOKENS, WIDTH = 24, 32


def layer():
    torch.manual_seed(1)
    found = Layer(WIDTH).double()
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return found


def heard(n_channels=4, n_sources=2, batch=2):
    generator = torch.Generator().manual_seed(2)
    index = torch.stack(
        [
            torch.stack(
                [
                    torch.tensor([j for j in range(n_channels) if j != i][:n_sources])
                    for i in range(n_channels)
                ]
            )
            for _ in range(batch)
        ]
    )
    lag = 0.3 * torch.rand(index.shape, generator=generator, dtype=torch.float64)
    weight = torch.log(torch.rand(index.shape, generator=generator, dtype=torch.float64))
    return Heard(index, lag, weight, token_rate=16.0, longest_s=0.3)


def delayed(x, lag_s, token_rate):
    """A column of tokens later by a lag: its mean stays, the rest moves by the operator's periodic sinc."""
    pad = math.ceil(fast_max_delay(len(x), 0.3, token_rate) * token_rate) + GUARD_SAMPLES
    n, level = len(x) + 2 * pad, x.mean()
    padded = np.zeros(n)
    padded[: len(x)] = x - level
    phase = np.exp(-2j * np.pi * np.fft.rfftfreq(n) * lag_s * token_rate)
    phase[-1] = np.cos(np.pi * lag_s * token_rate)
    return np.fft.irfft(np.fft.rfft(padded) * phase, n)[: len(x)] + level


def test_channels_attend_to_delayed_sources_by_loops():
    block, who = layer(), heard()
    h = torch.randn(2, 4, TOKENS, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        qkv = block.in_channels(block.norms[1](h))
        found = block._channels(qkv, who).numpy()
    width = qkv.shape[-1] // 3
    query, key, value = (part.numpy() for part in qkv.split(width, -1))
    for b, i in ((0, 0), (1, 2), (1, 3)):
        keys, values, bias = [key[b, i]], [value[b, i]], [0.0]
        for k in range(who.index.shape[-1]):
            j, lag = int(who.index[b, i, k]), float(who.lag_s[b, i, k])
            for rows, source in ((keys, key), (values, value)):
                rows.append(np.stack([delayed(source[b, j, :, d], lag, 16.0) for d in range(width)], 1))
            bias.append(float(who.log_weight[b, i, k]))
        for t in range(TOKENS):
            score = np.array([query[b, i, t] @ rows[t] for rows in keys]) / math.sqrt(width) + bias
            share = np.exp(score - score.max())
            expected = sum(s * rows[t] for s, rows in zip(share / share.sum(), values, strict=True))
            np.testing.assert_allclose(found[b, i, t], expected, atol=1e-9)


def test_tokens_attend_along_time_by_loops():
    block = layer()
    qkv = torch.randn(1, TOKENS, 3 * WIDTH, dtype=torch.float64)
    found = block._time(qkv)[0].numpy()
    heads, width = block.heads, WIDTH // block.heads
    query, key, value = (part[0].numpy() for part in qkv.split(WIDTH, -1))
    rate = 1000.0 ** (-np.arange(width // 2) / (width // 2))

    def turned(row, t):
        z = (row[: width // 2] + 1j * row[width // 2 :]) * np.exp(1j * t * rate)
        return np.concatenate([z.real, z.imag])

    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for t in (0, 7, TOKENS - 1):
            score = np.array(
                [turned(query[t, part], t) @ turned(key[s, part], s) for s in range(TOKENS)]
            ) / math.sqrt(width)
            share = np.exp(score - score.max())
            np.testing.assert_allclose(found[t, part], share / share.sum() @ value[:, part], atol=1e-5)


def test_sources_are_the_most_probable_and_nobody_hears_a_masked_channel():
    model = make_model(torch.float64)
    x = worlds(1, 6)[0].double()
    mask = torch.ones(1, 6, dtype=torch.bool)
    mask[0, 2] = False
    lags = model.lags(x, 160.0, mask, "eeg")
    who = Heard.of(lags, mask, 3, 16.0, 0.3)
    probability = lags.edge_probability[0].detach().numpy()
    for i in (0, 1, 3, 4, 5):
        expected = sorted((j for j in range(6) if j not in (i, 2)), key=lambda j: -probability[i, j])[:3]
        assert who.index[0, i].tolist() == expected
        weight = np.log(np.maximum(probability[i, expected], LEAST))
        np.testing.assert_allclose(who.log_weight[0, i].detach().numpy(), weight)
    assert torch.isneginf(who.log_weight[0, 2]).all()


@pytest.mark.parametrize("modality", ["eeg", "ecg"])
def test_hidden_spans_reach_nothing(modality):
    """What is hidden may be anything: the guess is the same, and only lags were told of it."""
    model = make_model(torch.float64)
    rate_hz, patch = RATE_HZ[modality], PATCH[modality]
    x = torch.randn(1, 3, 40 * patch, dtype=torch.float64)
    mask = torch.ones(1, 3, dtype=torch.bool)
    lags = model.lags(x, rate_hz, mask, modality)
    hide = torch.zeros(1, 3, 40, dtype=torch.bool)
    hide[:, :, 10:14] = True
    other = torch.where(hide.repeat_interleave(patch, 2), 100.0, x)
    with torch.no_grad():
        a, b = (model.fill_spans(v, hide, lags, mask, modality) for v in (x, other))
    assert a.shape == x.shape and torch.equal(a, b)


def test_contexts_follow_their_channels_and_places():
    torch.manual_seed(0)
    context = Context(ModelConfig.model_validate({**SETTINGS, "layers": 2})).double()
    model = make_model(torch.float64)
    x = worlds(1, 5)[0].double()
    mask = torch.ones(1, 5, dtype=torch.bool)
    order = torch.tensor([3, 0, 4, 1, 2])
    tokens, places = torch.randn(1, 5, 40, 16, dtype=torch.float64), torch.randn(1, 5, 3, dtype=torch.float64)
    states = torch.randn(1, 5, 10, 8, dtype=torch.float64)
    torch.nn.init.normal_(context.of_state.weight)
    lags = [model.lags(v, 160.0, mask, "eeg") for v in (x, x[:, order])]
    with torch.no_grad():
        a = context(tokens, states, lags[0], mask, places, "eeg")
        b = context(tokens[:, order], states[:, order], lags[1], mask, places[:, order], "eeg")
        nowhere = context(tokens, states, lags[0], mask, None, "eeg")
        stateless = context(tokens, 0 * states, lags[0], mask, places, "eeg")
    torch.testing.assert_close(a[:, order], b, atol=1e-7, rtol=1e-6)
    assert not torch.allclose(a, nowhere) and not torch.allclose(a, stateless)


def test_gradients_reach_lags_and_edges():
    model = make_model(torch.float64)
    x = worlds(1, 4)[0].double()
    mask = torch.ones(1, 4, dtype=torch.bool)
    lags = model.lags(x, 160.0, mask, "eeg")
    tau = lags.tau.detach().requires_grad_()
    probability = lags.edge_probability.detach().requires_grad_()
    lags.tau, lags.edge_probability = tau, probability
    tokens, states = (torch.randn(1, 4, *shape, dtype=torch.float64) for shape in ((160, 16), (40, 8)))
    model.context(tokens, states, lags, mask, None, "eeg").square().sum().backward()
    for value in (tau, probability):
        assert value.grad is not None and value.grad.isfinite().all() and value.grad.any()
