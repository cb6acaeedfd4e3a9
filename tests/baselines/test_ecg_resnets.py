"""The PTB-XL benchmark's networks: sizes by hand, crops, a training step."""

import numpy as np
import pytest
import torch
from toys.networks import labelled, steps_and_survives

from cldtrans.baselines.ecg_resnets import CroppedNetwork, ResNet1dWang, XResNet1d101
from cldtrans.data.base import Task
from cldtrans.errors import ConfigError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
SUPERCLASSES = Task("superclass", "multilabel", ("NORM", "MI", "STTC", "CD", "HYP"))


def made(kind, channels=LEADS, task=SUPERCLASSES, **settings):
    return kind(task, channels, 500.0, "ecg", 0, 1, **settings)


def head(features, classes):
    return 2 * 2 * features + 2 * features * 128 + 128 + 2 * 128 + 128 * classes + classes


def xresnet101(channels, classes):
    """By hand: a stem of 5-sample kernels, then (3, 4, 23, 3) bottlenecks of 64 inside and 256 outside."""
    stem = 5 * (channels * 32 + 32 * 32 + 32 * 64) + 2 * (32 + 32 + 64)
    inner = 5 * 64 * 64 + 2 * 64 + 64 * 256 + 2 * 256
    first = 64 * 64 + 2 * 64 + inner + 64 * 256 + 2 * 256
    return stem + first + 32 * (256 * 64 + 2 * 64 + inner) + head(256, classes)


def wang(channels, classes):
    """By hand: a 7-sample stem, three blocks of 5- and 3-sample kernels, two strided shortcuts."""
    block = (5 + 3) * 128 * 128 + 4 * 128
    return 7 * channels * 128 + 2 * 128 + 3 * block + 2 * (128 * 128 + 2 * 128) + head(128, classes)


@pytest.mark.parametrize(
    ("kind", "by_hand", "total"), [(XResNet1d101, xresnet101, 1_872_261), (ResNet1dWang, wang, 473_349)]
)
def test_the_sizes_are_those_of_the_benchmark(kind, by_hand, total):
    network = made(kind).make(1000)
    assert sum(p.numel() for p in network.parameters()) == by_hand(12, 5) == total
    assert str(total // 1000) in kind.card.reproduced.replace(" ", "")


@pytest.mark.parametrize("kind", [XResNet1d101, ResNet1dWang])
def test_a_training_step_a_save_and_a_load(kind):
    task = Task("toy", "binary", ("no", "yes"))
    model = made(kind, LEADS[:2], task, steps=2, batch_size=4, validate_every=2)
    steps_and_survives(model, labelled(2, 2500))
    twin = model.twin()
    twin.fit(labelled(2, 2500), labelled(2, 2500, seed=1))
    assert twin.predict_proba(labelled(2, 2500)).shape == (8, 2)


def test_a_prediction_is_the_largest_over_crops_that_overlap_by_half():
    network = CroppedNetwork(torch.nn.Identity(), 3, 2, 100).eval()
    x = torch.randn(2, 3, 350)
    alone = torch.stack([network(x[..., at : at + 100]) for at in range(0, 251, 50)])
    torch.testing.assert_close(network(x), alone.amax(0))
    assert network(x[..., :40]).shape == (2, 2)


def test_training_sees_one_crop_anywhere_in_the_window():
    """A body that hands its input on: what it saw is a stretch of the ramp, and starts vary."""
    network = CroppedNetwork(torch.nn.Identity(), 1, 2, 100).train()
    seen = []
    network.body.register_forward_hook(lambda module, given, found: seen.append(given[0]))
    network(torch.arange(250.0).expand(64, 1, 250))
    assert (seen[0].diff() == 1).all()
    assert seen[0].shape == (64, 1, 100)
    assert len(np.unique(seen[0][:, 0, 0])) > 20


def test_other_recordings_are_refused():
    with pytest.raises(ConfigError, match="reads ECG, not eeg"):
        ResNet1dWang(SUPERCLASSES, LEADS, 160.0, "eeg", 0, 1)


def test_amplitudes_reach_the_network_and_a_common_scale_does_not_matter():
    model = made(ResNet1dWang, LEADS[:2])
    windows = labelled(2, 2500)
    network = model.fresh(0, 2500).train()
    network.hidden[1].p = network.hidden[5].p = 0.0
    x = model.inputs(windows, np.arange(4))
    found = []
    for scale in (1.0, 1e3):
        torch.manual_seed(0)
        found.append(network(scale * x))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)
