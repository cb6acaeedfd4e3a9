"""A network through one training step, a save and a load."""

import io

import numpy as np
import torch
from toys.windows import Fake


def labelled(n_channels, n_samples, n=8, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    return Fake(rng.standard_normal((n, n_channels, n_samples)), np.arange(n) % classes)


def steps_and_survives(model, windows):
    """Train two steps, predict, and predict the same from saved weights in a fresh network."""
    model.fit(windows, windows)
    found = model.predict_proba(windows)
    assert found.shape == (len(windows), len(model.classes))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    file = io.BytesIO()
    torch.save(model._networks[0].state_dict(), file)
    file.seek(0)
    again = model.fresh(99, windows.x().shape[-1])
    moved = [
        (a - b).abs().max() > 0
        for a, b in zip(again.parameters(), model._networks[0].parameters(), strict=True)
    ]
    assert any(moved)
    again.load_state_dict(torch.load(file, weights_only=True))
    model._networks = [again]
    np.testing.assert_allclose(model.predict_proba(windows), found, rtol=1e-5, atol=1e-7)
    return model
