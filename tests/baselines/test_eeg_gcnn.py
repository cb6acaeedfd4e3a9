"""EEG-GCNN: features against scipy, the graph by hand, a training step."""

import numpy as np
import pytest
import torch
from scipy import signal
from toys.networks import labelled, steps_and_survives

from cldtrans.baselines.eeg_gcnn import BANDS_HZ, EegGcnn, GraphNetwork, distances, graph_features
from cldtrans.data.base import Task
from cldtrans.errors import ConfigError

TASK = Task("toy", "binary", ("no", "yes"))
PAPER = ("F7-F3", "F8-F4", "T7-C3", "T8-C4", "P7-P3", "P8-P4", "O1-P3", "O2-P4")


def test_features_are_welchs():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 3, 1600))
    x[0, 1] += x[0, 0]
    found = graph_features(torch.from_numpy(x).float(), 160.0)[0].numpy()
    settings = {"fs": 160.0, "window": np.hanning(321)[:-1], "nperseg": 320, "detrend": "constant"}
    frequency, density = signal.welch(x[0], **settings)
    for place, (low, high) in enumerate(BANDS_HZ):
        inside = (frequency >= low) & (frequency < high)
        np.testing.assert_allclose(found[:, place], density[:, inside].mean(-1), rtol=1e-3)
    used = (frequency >= 1) & (frequency < 40)
    for other in range(3):
        _, coherence = signal.coherence(x[0, 0], x[0, other], **settings)
        assert found[0, 6 + other] == pytest.approx(coherence[used].mean(), rel=1e-3)


def test_distances_are_angles_on_the_head_from_0_to_1():
    found = distances(("FP1", "FP2", "O2", "CZ"))
    assert found.max() == 1
    assert (np.diag(found) == 0).all()
    np.testing.assert_allclose(found, found.T)
    assert found[0, 2] == 1  # frontal left to occipital right
    assert found[0, 1] < found[0, 3]
    with pytest.raises(ConfigError, match="place of X9Q is not known"):
        distances(("FP1", "X9Q"))


def test_the_network_is_two_convolutions_on_the_graph():
    """The paper's eight channels: the size by hand, and the output by loops over nodes."""
    network = GraphNetwork(torch.from_numpy(distances(PAPER)), 2).eval()
    assert sum(p.numel() for p in network.parameters()) == 6 * 64 + 64 + 128 + 64 * 128 + 128 + 256 + 258
    x = torch.rand(1, 8, 14)
    nodes, weight = x[0, :, :6] / np.sqrt(1 + 1e-5), network.distance + x[0, :, 6:]
    for layer, norm in zip(network.layers, network.norms, strict=True):
        summed = [sum(weight[i, j] * nodes[j] for j in range(8)) for i in range(8)]
        nodes = torch.nn.functional.leaky_relu(norm(torch.stack([layer(row) for row in summed])))
    torch.testing.assert_close(network(x)[0], network.head(nodes.mean(0)), rtol=1e-4, atol=1e-5)


def test_a_training_step_a_save_and_a_load():
    model = EegGcnn(TASK, PAPER[:3], 160.0, "eeg", 0, 1, steps=2, batch_size=4, validate_every=2)
    steps_and_survives(model, labelled(3, 640))
    with pytest.raises(ConfigError, match="reads EEG"):
        EegGcnn(TASK, PAPER, 160.0, "ecg", 0, 1)
