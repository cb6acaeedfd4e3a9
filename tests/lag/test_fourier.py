"""Where Fourier transforms run, and that nothing of a training step goes past that switch."""

import sys
from functools import partial

import numpy as np
import pytest
import torch
from toys.model import make_model
from toys.stage1 import STAGE1, batch_of, small_config, world_batch, write_corpora

from cldtrans.lag import delay, fourier
from cldtrans.training.stage1 import Objective, train_stage1


@pytest.mark.parametrize("call", [
    lambda x: fourier.rfft(x, 64),
    lambda x: fourier.irfft(torch.complex(x, x), 30),
    lambda x: fourier.stft(x, 8),
])  # fmt: skip
def test_the_switch_moves_transforms_to_the_cpu_and_their_results_back(call):
    x = torch.randn(3, 16, dtype=torch.float64)
    here = call(x)
    assert call(x.to("meta")).shape == here.shape, "a device that computes nothing"
    with fourier.transforms_on("cpu"):
        assert torch.equal(call(x), here)
        with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
            call(x.to("meta"))
    assert call(x.to("meta")).device.type == "meta"


def test_transforms_are_those_of_torch_and_numpy():
    x = torch.randn(3, 50, dtype=torch.float64)
    np.testing.assert_allclose(fourier.rfft(x, 64), np.fft.rfft(x, 64), atol=1e-12)
    np.testing.assert_allclose(fourier.irfft(fourier.rfft(x), 50), x, atol=1e-12)
    frames = x.unfold(-1, 16, 8) * torch.hann_window(16, dtype=torch.float64)
    np.testing.assert_allclose(fourier.stft(x, 16), np.fft.rfft(frames).swapaxes(1, 2), atol=1e-12)


@pytest.fixture
def watched(monkeypatch):
    """The switch's setting at each transform that torch runs; calls from elsewhere fail."""
    seen = []
    for module, name in ((torch.fft, "rfft"), (torch.fft, "irfft"), (torch, "stft")):

        def spy(*args, original, **options):
            assert sys._getframe(1).f_globals["__name__"] == fourier.__name__
            seen.append(fourier._place)
            return original(*args, **options)

        monkeypatch.setattr(module, name, partial(spy, original=getattr(module, name)))
    return seen


def test_every_transform_of_a_step_obeys_the_switch_and_gradients_are_equal(watched):
    gradients = []
    for place in ("device", "cpu"):
        watched.clear()
        model = make_model(torch.float64).train()
        torch.manual_seed(1)
        with fourier.transforms_on(place):
            for batch in (batch_of(torch.randn(2, 5, 800)), world_batch()):
                Objective(STAGE1)(model, batch.to("cpu", torch.float64))["loss"].backward()
            delay(batch.x.double().requires_grad_(), 0.01, 160.0).sum().backward()
        assert len(watched) > 10 and set(watched) == {place}
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_the_config_decides(tmp_path, watched, monkeypatch):
    monkeypatch.setattr("cldtrans.training.stage1.VALIDATION_WORLDS", 2)
    write_corpora(tmp_path / "shards")
    config = small_config(steps=1).model_copy(update={"fft": "cpu"})
    train_stage1(config, "cldtrans", 0, tmp_path / "shards", tmp_path / "out", tmp_path / "work")
    assert set(watched) == {"cpu"} and fourier._place == "device"
