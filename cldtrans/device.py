"""The device that a model is used on, outside training with several processes."""

import torch


def best_device() -> torch.device:
    """The GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
