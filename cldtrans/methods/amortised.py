"""A pretrained model as an estimator of lags and edges of a system, window by window."""

from __future__ import annotations

import numpy as np

from cldtrans.errors import DataError
from cldtrans.methods.estimators import LagEstimate, NoEstimate


class Amortised:
    """The `estimator` factory; `amortised_lags` of each window, averaged.

    Parameters
    ----------
    checkpoint : str or None
        What `CLDTrans.from_pretrained` loads; None: none, which the cell says.
    """

    def __init__(self, checkpoint: str | None = None) -> None:
        self.checkpoint = checkpoint

    def __call__(self, x: np.ndarray, sample_rate: float, tau_max_s: float, seed: int = 0) -> LagEstimate:
        """Average lags and edges over the windows of x [N, C, T]; lags reach `tau_max_s` seconds."""
        if self.checkpoint is None:
            raise NoEstimate("no checkpoint supplied (methods.amortised.settings.checkpoint is null)")
        from cldtrans.models.amortised import LIKELIER, amortised_lags

        try:
            found = [amortised_lags(one, sample_rate, tau_max_s, checkpoint=self.checkpoint) for one in x]
        except DataError as error:
            raise NoEstimate(str(error)) from error
        probability = np.mean([one.probability for one in found], axis=0)
        # A window that sees no edge says nothing of its lag.
        precision = np.stack([np.where(one.support, one.tau_stderr**-2.0, 0.0) for one in found])
        lags = np.stack([np.where(one.support, one.tau, 0.0) for one in found])
        total = precision.sum(0)
        support = (probability > LIKELIER) & (total > 0)
        sure = np.where(support, total, np.nan)
        return LagEstimate((precision * lags).sum(0) / sure, support, sure**-0.5, score=probability)
