"""Phase-slope index: who leads whom by the slope of the phase of the cross-spectrum over frequency.

Nolte et al. 2008, Phys. Rev. Lett. 100:234101: the imaginary part of `sum_f C*_ij(f) C_ij(f + df)` with the
complex coherency C, over its jackknifed standard deviation. It weighs frequencies by coherence and needs no
unwrapping; mixing without delay gives zero. The angle of the same sum over df is a delay.
"""

from __future__ import annotations

import numpy as np

from cldtrans.methods.cards import Card
from cldtrans.methods.estimators import LagEstimate


class PhaseSlope:
    """The `estimator` factory.

    Parameters
    ----------
    segments : int
        Half-overlapping segments a recording is cut into; they are left out one by one for the jackknife.
    least_z : float
        Index over its standard deviation from which a pair is an edge.
    """

    card = Card(
        title="Phase-slope index",
        source="Nolte et al. 2008, Phys. Rev. Lett. 100:234101",
        licence="MIT (ours, from the paper)",
        reproduced="the index over its jackknifed deviation",
        differs="the angle of the same sum is read as a delay",
    )

    def __init__(self, segments: int = 40, least_z: float = 4.0) -> None:
        self.segments, self.least_z = segments, least_z

    def __call__(self, x: np.ndarray, sample_rate: float, tau_max_s: float, seed: int = 0) -> LagEstimate:
        """Estimate directions and delays of windows x [N, C, T] of one system."""
        size = max(int(2 * x.shape[2] / (self.segments / x.shape[0] + 1)), 2)
        size = min(max(size, int(4 * tau_max_s * sample_rate)), x.shape[2])
        cut = np.lib.stride_tricks.sliding_window_view(x, size, axis=2)[:, :, :: max(size // 2, 1)]
        cut = cut.transpose(0, 2, 1, 3).reshape(-1, x.shape[1], size)
        cut = (cut - cut.mean(-1, keepdims=True)) * np.hanning(size + 2)[1:-1]
        spectrum = np.fft.rfft(cut)[..., 1:-1].transpose(0, 2, 1)  # [S, F, C]
        total = np.einsum("sfi,sfj->fij", spectrum, spectrum.conj(), optimize=True)
        whole, index = _sums(total)
        without = np.stack([_sums(total - one[:, :, None] * one[:, None].conj())[1] for one in spectrum])
        n = len(without)
        z = index / np.maximum(np.sqrt((n - 1) / n * ((without - without.mean(0)) ** 2).sum(0)), 1e-300)
        np.fill_diagonal(z, 0.0)
        # Two bins apart by one segment's length: the phase turns by 2 pi tau / length.
        delay = -np.angle(whole) * size / (2 * np.pi * sample_rate)
        support = (z > self.least_z) & (delay >= 0)
        return LagEstimate(np.where(support, delay, np.nan), support, None, score=z, delay=delay)


def _sums(cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum `conj(C(f)) C(f + df)` of cross-spectra [F, C, C]; the index is positive where the row is later."""
    power = np.sqrt(np.maximum(np.diagonal(cross, axis1=1, axis2=2).real, 1e-300))
    coherency = cross / power[:, :, None] / power[:, None]
    whole = (coherency[:-1].conj() * coherency[1:]).sum(0)
    return whole, -whole.imag
