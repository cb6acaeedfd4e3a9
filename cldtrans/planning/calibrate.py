"""The time that training needs for a window on this machine: a few stage-1 steps on synthetic windows."""

from __future__ import annotations

import os

import numpy as np
import torch

from cldtrans.config import Config
from cldtrans.data import chosen_dataset
from cldtrans.files import write_json
from cldtrans.lag.fourier import transforms_on
from cldtrans.models.cldtrans import CLDTrans
from cldtrans.planning.cost import calibration_path, training_settings
from cldtrans.training import distributed
from cldtrans.training.loader import Corpus
from cldtrans.training.loop import run_training
from cldtrans.training.stage1 import Corpora, Objective, add_worlds

STEPS = 5  # of each corpus; the median leaves out those that warm up
# On a CPU, a step: as many as share one likelihood or hidden spans, so that steps are alike; what only one
# window in sixteen has, the median leaves out.
CPU_WINDOWS = 8


class SyntheticCorpus:
    """Coloured noise in the shape of a dataset's windows: what it is does not change the cost of a step."""

    modality: str

    def __init__(self, config: Config, name: str):
        settings, dataset = config.preprocess[name], chosen_dataset(name, config.dataset_classes)
        self.name, self.modality, self.rate_hz = name, dataset.modality, settings.rate_hz
        n_channels = min(len(dataset.channels), config.stage1.max_channels or len(dataset.channels))
        self.shape = n_channels, round(settings.window_s * settings.rate_hz)

    def __len__(self) -> int:
        return 1 << 20

    def load(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw `x` [B, C, T] and `mask` [B, C]."""
        x = np.cumsum(rng.standard_normal((len(rows), *self.shape), dtype=np.float32), axis=2)
        return {"x": x, "mask": np.ones((len(rows), self.shape[0]), dtype=bool)}


def calibrate(config: Config, devices: int) -> float:
    """Measure the milliseconds a window of stage 1 on one device, over the corpora as training mixes them.

    They are stored for the next estimate.

    Parameters
    ----------
    config : Config
        Settings of the run.
    devices : int
        How many will share a batch, which limits what one of them has at once.
    """
    torch.set_num_threads(min(config.threads, os.cpu_count() or 1))
    corpora = Corpora([SyntheticCorpus(config, name) for name in config.stage1.datasets], [], [], [], [], {})
    add_worlds(corpora, config.stage1, config.model, seed=0)
    with distributed.process_group() as device, transforms_on(config.fft):
        paces = [_window_ms(config, corpus, devices, device) for corpus in corpora.train]
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    mean = float(np.average(paces, weights=corpora.weights))
    record = {
        "window_ms": mean,
        "corpora": {corpus.name: pace for corpus, pace in zip(corpora.train, paces, strict=True)},
        "device": name,
        "settings_sha256": training_settings(config),
    }
    write_json(calibration_path(config), record)
    return mean


def _window_ms(config: Config, corpus: Corpus, devices: int, device: torch.device) -> float:
    windows = min(config.loop.micro_batch, max(1, config.loop.batch_size // devices))
    if device.type == "cpu":
        windows = min(windows, CPU_WINDOWS)
    sizes = {"steps": STEPS, "batch_size": windows, "micro_batch": windows, "checkpoint_every": STEPS}
    result = run_training(
        CLDTrans(config.model),
        Objective(config.stage1),
        [corpus],
        config.loop.model_copy(update=sizes),
        seed=0,
        device=device,
        step_end=lambda module: module.update_codebooks(),  # type: ignore
        name=f"calibration, windows like {corpus.name}",
    )
    assert result.step_ms is not None
    return result.step_ms / windows


def _cpu_name() -> str:
    return f"CPU with {torch.get_num_threads()} thread(s)"
