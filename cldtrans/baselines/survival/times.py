"""The task that baselines for times to an event ask for."""

from __future__ import annotations

from typing import Any

import numpy as np

from cldtrans.errors import ConfigError
from cldtrans.scoring.discrete_time import times_of


def only_times(task: Any, method: str) -> np.ndarray:
    """Return the times [K] of a task.

    Raises
    ------
    ConfigError
        Where the task is of another kind.
    """
    if task.kind != "time_to_event":
        raise ConfigError(
            f"{method} predicts times to an event, but {task.name} is {task.kind}: take it off this dataset"
        )
    return times_of(task.classes)
