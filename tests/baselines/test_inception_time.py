"""InceptionTime: the published size, resampling, learning, seeds."""

import numpy as np
import pytest
from toys.windows import Fake, auroc, rhythms

from cldtrans.data.base import Task


def test_inception_has_the_published_number_of_parameters():
    """Counted by hand from the paper's figure, and against the count printed for a public port.

    tsai's InceptionTime(3, 2) has 455 490 parameters: kernels 39, 19, 9 and no convolution in the second
    shortcut (128 x 128).
    """
    from torch import nn

    from cldtrans.baselines.inception_time import InceptionNetwork

    def by_hand(c, k, kernels):
        def module(width):
            return width * 32 + 32 * 32 * sum(kernels) + width * 32 + 2 * 128

        shortcuts = c * 128 + 256 + 128 * 128 + 256
        return module(c) + 5 * module(128) + shortcuts + 128 * k + k

    def count(network):
        return sum(p.numel() for p in network.parameters())

    assert count(InceptionNetwork(3, 2, (39, 19, 9))) - 128 * 128 == 455_490
    assert count(InceptionNetwork(12, 5)) == by_hand(12, 5, (40, 20, 10))
    first = next(layer for layer in InceptionNetwork(1, 2).modules() if isinstance(layer, nn.Conv1d))
    assert first.in_channels == 1


@pytest.mark.filterwarnings("ignore:Using padding")
def test_inception_keeps_length_and_any_channels():
    import torch

    from cldtrans.baselines.inception_time import InceptionModule

    for kernels in ((40, 20, 10), (39, 19, 9)):
        assert InceptionModule(7, kernels)(torch.randn(2, 7, 101)).shape == (2, 128, 101)


def test_inception_resamples_a_sine_to_itself():
    from cldtrans.baselines.inception_time import InceptionTime

    task = Task("toy", "binary", ("no", "yes"))
    model = InceptionTime(task, ("I",), 500.0, "ecg", 0, 1, ensemble=1)
    x = np.sin(2 * np.pi * 7 * np.arange(5000) / 500)[None, None]
    found = model.inputs(Fake(x, np.zeros(1, dtype=int)), np.array([0])).cpu().numpy()
    np.testing.assert_allclose(found[0, 0], np.sin(2 * np.pi * 7 * np.arange(1000) / 100), atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Using padding")
def test_inception_learns_and_repeats_itself():
    from cldtrans.baselines.inception_time import InceptionTime

    train, val, test = (rhythms(n, seed, 80, 80.0) for seed, n in enumerate((64, 32, 64)))
    task = Task("toy", "binary", ("theta", "alpha"))

    def fitted():
        model = InceptionTime(
            task, ("a", "b", "c"), 80.0, "eeg", 5, 1, steps=10, ensemble=1, batch_size=16, validate_every=5
        )
        model.fit(train, val)
        return model.predict_proba(test)

    first = fitted()
    assert (first == fitted()).all()
    assert first.shape == (64, 2)
    assert auroc(test, first) > 0.9
