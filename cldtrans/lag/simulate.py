"""Simulated LD-SEM systems whose lags, weights and innovations are known exactly."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import fft

from cldtrans.lag.system import delay_factor, loop_gain, rfft_bins, self_filter, system_matrix

Innovation = Literal["laplace", "student", "gaussian"]
MAX_LOOP_GAIN = 0.9
_BINS_AT_ONCE = 1024


@dataclass(frozen=True)
class Sample:
    """One simulated system; rows are targets, columns sources.

    Attributes
    ----------
    x : array [N, C, T] of float64
        Windows.
    tau : array [C, C]
        Lags in seconds, NaN off the support.
    weight : array [C, C]
        In the units of x, 0 off the support.
    support : array [C, C] of bool
        True where there is an edge.
    sample_rate : float
        Hertz.
    self_dynamics : array [C, P]
        Coefficients of the channel's own past, lags 1..P samples (P may be 0).
    innovation : one of "laplace", "student", "gaussian"
        Family of the innovations.
    degrees_of_freedom : float
        Matters for "student" only.
    scale : array [C]
        Standard deviation of the innovations, in the units of x.
    innovations : array [N, C, T]
        The innovations themselves, in the units of x.
    coupling : one of "linear", "tanh"
        What sources pass before the delay.
    periodic : bool
        True: each window is one period; False: windows cut one after another from a long record.
    """

    x: Float[np.ndarray, "N C T"]
    tau: Float[np.ndarray, "C C"]
    weight: Float[np.ndarray, "C C"]
    support: Bool[np.ndarray, "C C"]
    sample_rate: float
    self_dynamics: Float[np.ndarray, "C P"]
    innovation: Innovation
    degrees_of_freedom: float
    scale: Float[np.ndarray, " C"]
    innovations: Float[np.ndarray, "N C T"]
    coupling: Literal["linear", "tanh"]
    periodic: bool


def simulate_ldsem(
    n_channels: int = 8,
    duration_s: float = 240.0,
    sample_rate: float = 160.0,
    *,
    window_s: float | None = None,
    n_windows: int | None = None,
    edges_per_node: float = 2.0,
    lag_range_s: tuple[float, float] | None = None,
    cyclic: bool = True,
    innovation: Innovation = "laplace",
    degrees_of_freedom: float = 5.0,
    self_dynamics: Literal["ar2"] | np.ndarray | None = None,
    pole_radius: float = 0.9,
    pole_range_hz: tuple[float, float] = (3.0, 28.0),
    coupling: Literal["linear", "tanh"] = "linear",
    weight_range: tuple[float, float] = (0.2, 0.6),
    channel_scale_range: tuple[float, float] = (1.0, 1.0),
    measurement_noise: float = 0.0,
    zero_lag_mixing: float = 0.0,
    confounder: float = 0.0,
    dependent_channels: int = 0,
    drift: float = 0.0,
    periodic: bool = False,
    seed: int = 0,
) -> Sample:
    """Draw one system and simulate it.

    `x_i(t) = (a_i * x_i)(t) + sum_j W_ij g(x_j(t - tau_ij)) + e_i(t)`, solved to rounding error on the bins
    of the discrete Fourier transform, where a fractional delay is the periodic sinc: of each window
    (`periodic=True`, independent innovations a window) or of one long record from which the windows are cut
    after a burn-in on both sides (`periodic=False`). With `coupling="tanh"` the same equation is solved by
    fixed-point iteration on the same grid.

    Parameters
    ----------
    n_channels : int
        Size of the system.
    duration_s : float
        Length of all windows together, seconds.
    sample_rate : float
        Hertz.
    window_s : float, optional
        Length of a window, seconds.
    n_windows : int, optional
        Number of windows. Default: windows of 10 s; one of the two gives the other through `duration_s`;
        both override it.
    edges_per_node : float
        Mean number of incoming edges; fractions are spread over the nodes. 0: no edges.
    lag_range_s : (float, float), optional
        tau is uniform in it, seconds; default: 1 to 40 samples. Lags may be fractions of a sample.
    cyclic : bool
        True: sources are any other channels (at one edge a node or more the graph contains cycles);
        False: acyclic along a random order.
    innovation : one of "laplace", "student", "gaussian"
        Family of the innovations: unit variance, independent over channels and time.
    degrees_of_freedom : float
        Of Student-t innovations, more than 2.
    self_dynamics : "ar2", array [C, P], or None
        None: none; "ar2": one pole pair a channel; or coefficients of lags 1..P samples.
    pole_radius : float
        Of the pole pairs of "ar2".
    pole_range_hz : (float, float)
        The frequencies of the pole pairs are uniform in it.
    coupling : one of "linear", "tanh"
        Applied before the delay.
    weight_range : (float, float)
        |W| is uniform in it with random sign; then all are multiplied by one factor where needed for the
        loop gain (see `loop_gain`) to be at most 0.9, so that every system is stable.
    channel_scale_range : (float, float)
        Each channel is multiplied by a gain log-uniform in it; weights and scales are given in the new
        units.
    measurement_noise : float
        White Gaussian noise added to each channel, as a fraction of its standard deviation.
    zero_lag_mixing : float
        Volume conduction: channel i sees `zero_lag_mixing ** d` of channel j at ring distance d.
    confounder : float
        Weight of one unobserved source (same innovations and kind of self-dynamics) into a random half of
        the channels, at lags in `lag_range_s`.
    dependent_channels : int
        This many channels, sums of two random others, are appended; they have no edges, scale 0 and no
        innovations: the model has no density there.
    drift : float
        Slow sinusoids added to each channel over the whole record, amplitude in its standard deviations.
    periodic : bool
        Whether each window is one period, as above.
    seed : int
        One seed gives one system and one realisation.

    Returns
    -------
    Sample
        The system with its windows.
    """
    rng = np.random.default_rng(seed)
    n_windows, window = _windows(duration_s, sample_rate, window_s, n_windows)
    lag_range = (
        (1.0, 40.0) if lag_range_s is None else (lag_range_s[0] * sample_rate, lag_range_s[1] * sample_rate)
    )
    _check(n_channels, edges_per_node, lag_range, innovation, degrees_of_freedom, coupling, window, periodic)

    support = _draw_support(rng, n_channels, edges_per_node, cyclic)
    lag = np.where(support, rng.uniform(*lag_range, support.shape), 0.0)  # samples
    sign = rng.choice((-1.0, 1.0), support.shape)
    weight = np.where(support, sign * rng.uniform(*weight_range, support.shape), 0.0)
    own = _draw_self_dynamics(rng, n_channels, self_dynamics, pole_radius, pole_range_hz, sample_rate)
    gain = loop_gain(weight, own)
    if gain > MAX_LOOP_GAIN:
        weight *= MAX_LOOP_GAIN / gain

    full_weight, full_lag, full_own = weight, lag, own
    if confounder:
        full_weight, full_lag, full_own = _add_confounder(
            rng,
            weight,
            lag,
            own,
            confounder,
            lag_range,
            self_dynamics,
            pole_radius,
            pole_range_hz,
            sample_rate,
        )

    n_all = len(full_weight)
    if periodic:
        e = _draw_innovations(rng, (n_windows, n_all, window), innovation, degrees_of_freedom)
    else:
        # The record is circular, hence stationary from the start; what lies outside the windows only keeps
        # the last window from leading into the first.
        margin = round(8 * sample_rate + 4 * lag_range[1])
        length = fft.next_fast_len(n_windows * window + margin, real=True)
        e = _draw_innovations(rng, (1, n_all, length), innovation, degrees_of_freedom)
    solve = _solve_linear if coupling == "linear" else _solve_tanh
    x = solve(e, full_weight, full_lag, full_own)
    if not periodic:
        x, e = (_cut(v, n_windows, window) for v in (x, e))
    x, e = x[:, :n_channels], e[:, :n_channels]

    low, high = np.log(channel_scale_range)
    scale = np.exp(rng.uniform(low, high, n_channels))
    x = _violate(rng, x, measurement_noise, zero_lag_mixing, drift) * scale[:, None]
    e = e * scale[:, None]
    weight = weight * scale[:, None] / scale
    if dependent_channels:
        pairs = np.array([rng.choice(n_channels, 2, replace=False) for _ in range(dependent_channels)])
        x = np.concatenate([x, x[:, pairs].sum(2)], 1)
        e = np.concatenate([e, np.zeros((n_windows, dependent_channels, window))], 1)
        grow = ((0, dependent_channels), (0, dependent_channels))
        weight, lag, support = (np.pad(v, grow) for v in (weight, lag, support))
        own = np.pad(own, (grow[0], (0, 0)))
        scale = np.pad(scale, grow[0])
    return Sample(
        x=x,
        tau=np.where(support, lag / sample_rate, np.nan),
        weight=weight,
        support=support,
        sample_rate=float(sample_rate),
        self_dynamics=own,
        innovation=innovation,
        degrees_of_freedom=float(degrees_of_freedom),
        scale=scale,
        innovations=e,
        coupling=coupling,
        periodic=periodic,
    )


def _windows(
    duration_s: float, sample_rate: float, window_s: float | None, n_windows: int | None
) -> tuple[int, int]:
    """Return number of windows and samples in each."""
    if window_s is None:
        window_s = 10.0 if n_windows is None else duration_s / n_windows
    window_s = min(window_s, duration_s) if n_windows is None else window_s
    window = round(window_s * sample_rate)
    if n_windows is None:
        n_windows = int(duration_s * sample_rate + 1e-6) // max(window, 1)
    if window < 8 or n_windows < 1:
        raise ValueError(f"{n_windows} windows of {window} samples: need at least one of 8 samples or more")
    return n_windows, window


def _check(
    n_channels: int,
    edges_per_node: float,
    lag_range: tuple[float, float],
    innovation: str,
    degrees_of_freedom: float,
    coupling: str,
    window: int,
    periodic: bool,
) -> None:
    if innovation not in ("laplace", "student", "gaussian"):
        raise ValueError(f"innovation is {innovation!r}; known: laplace, student, gaussian")
    if innovation == "student" and degrees_of_freedom <= 2:
        raise ValueError(f"degrees_of_freedom is {degrees_of_freedom}; a unit variance needs more than 2")
    if coupling not in ("linear", "tanh"):
        raise ValueError(f"coupling is {coupling!r}; known: linear, tanh")
    if not 0 <= edges_per_node <= n_channels - 1:
        raise ValueError(
            f"edges_per_node is {edges_per_node}; {n_channels} channels allow 0 to {n_channels - 1}"
        )
    if not 0 <= lag_range[0] <= lag_range[1]:
        raise ValueError(
            f"lag_range_s is {lag_range[0]:g} to {lag_range[1]:g} samples; need 0 <= low <= high"
        )
    if periodic and lag_range[1] >= window / 2:
        raise ValueError(
            f"lags up to {lag_range[1]:g} samples in periodic windows of {window}: at most half a window"
        )


def _draw_support(
    rng: np.random.Generator, n_channels: int, edges_per_node: float, cyclic: bool
) -> np.ndarray:
    """Draw sources of each target: any other channel, or earlier ones of a random order."""
    total = round(edges_per_node * n_channels)
    wanted = np.full(n_channels, total // n_channels)
    wanted[rng.permutation(n_channels)[: total % n_channels]] += 1
    order = rng.permutation(n_channels)
    support = np.zeros((n_channels, n_channels), bool)
    for position, target in enumerate(order):
        sources = np.delete(np.arange(n_channels), target) if cyclic else order[:position]
        chosen = rng.choice(sources, min(wanted[target], len(sources)), replace=False)
        support[target, chosen.astype(int)] = True
    return support


def _draw_self_dynamics(
    rng: np.random.Generator,
    n_channels: int,
    kind: Literal["ar2"] | np.ndarray | None,
    pole_radius: float,
    pole_range_hz: tuple[float, float],
    sample_rate: float,
) -> np.ndarray:
    """Draw coefficients [C, P]."""
    if kind is None:
        return np.zeros((n_channels, 0))
    if isinstance(kind, str):
        if kind != "ar2":
            raise ValueError(f"self_dynamics is {kind!r}; known: None, 'ar2' or coefficients [C, P]")
        if not 0 <= pole_radius < 1:
            raise ValueError(f"pole_radius is {pole_radius}; a stable channel needs 0 <= radius < 1")
        angle = 2 * np.pi * rng.uniform(*pole_range_hz, n_channels) / sample_rate
        return np.stack([2 * pole_radius * np.cos(angle), np.full(n_channels, -(pole_radius**2))], 1)
    given = np.asarray(kind, dtype=float)
    if given.ndim != 2 or len(given) != n_channels:
        raise ValueError(f"self_dynamics has shape {given.shape}; expected [{n_channels}, P]")
    for channel, coefficients in enumerate(given):
        poles = np.abs(np.roots(np.concatenate([[1.0], -coefficients])))
        if poles.max(initial=0.0) >= 1:
            raise ValueError(
                f"self_dynamics of channel {channel} has a pole of radius {poles.max():.4g}: unstable"
            )
    return given


def _add_confounder(
    rng: np.random.Generator,
    weight: np.ndarray,
    lag: np.ndarray,
    own: np.ndarray,
    strength: float,
    lag_range: tuple[float, float],
    kind: Literal["ar2"] | np.ndarray | None,
    pole_radius: float,
    pole_range_hz: tuple[float, float],
    sample_rate: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One more channel, a source only: it cannot change the stability."""
    n_channels = len(weight)
    reached = rng.permutation(n_channels)[: max(2, n_channels // 2)]
    weight, lag = (np.pad(v, ((0, 1), (0, 1))) for v in (weight, lag))
    weight[reached, -1] = strength
    lag[reached, -1] = rng.uniform(*lag_range, len(reached))
    if isinstance(kind, np.ndarray):
        hidden = own[rng.integers(n_channels)][None]
    else:
        hidden = _draw_self_dynamics(rng, 1, kind, pole_radius, pole_range_hz, sample_rate)
    return weight, lag, np.concatenate([own, hidden])


def _draw_innovations(
    rng: np.random.Generator, shape: tuple[int, ...], family: Innovation, degrees_of_freedom: float
) -> np.ndarray:
    """Independent, zero mean, unit variance."""
    if family == "laplace":
        return rng.laplace(scale=np.sqrt(0.5), size=shape)
    if family == "student":
        return rng.standard_t(degrees_of_freedom, shape) * np.sqrt(
            (degrees_of_freedom - 2) / degrees_of_freedom
        )
    return rng.standard_normal(shape)


def _solve_linear(e: np.ndarray, weight: np.ndarray, lag: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Solve `X(f) = M(f)^-1 E(f)`, a block of bins at a time; e [N, C, T]."""
    n_samples = e.shape[-1]
    frequency = rfft_bins(n_samples)
    spectrum = fft.rfft(e).transpose(2, 1, 0).copy()  # [bins, C, N]
    for start in range(0, len(frequency), _BINS_AT_ONCE):
        part = slice(start, start + _BINS_AT_ONCE)
        spectrum[part] = np.linalg.solve(system_matrix(weight, lag, own, frequency[part]), spectrum[part])
    return fft.irfft(spectrum.transpose(2, 1, 0), n_samples)


def _solve_tanh(e: np.ndarray, weight: np.ndarray, lag: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Find the fixed point of `x = (1 - a)^-1 (W delay(tanh x) + e)`.

    Since the slope of tanh is at most 1, the map contracts.
    """
    n_samples = e.shape[-1]
    frequency = rfft_bins(n_samples)
    response = self_filter(own, frequency).T  # [C, bins]
    edges = [
        (i, j, weight[i, j] * delay_factor(lag[i, j], frequency))
        for i, j in zip(*np.nonzero(weight), strict=True)
    ]
    drive = fft.rfft(e)
    x = fft.irfft(drive / response, n_samples)
    change = np.inf
    for _ in range(1000):
        source = fft.rfft(np.tanh(x))
        total = drive.copy()
        for i, j, factor in edges:
            total[:, i] += factor * source[:, j]
        update = fft.irfft(total / response, n_samples)
        change = float(np.abs(update - x).max())
        x = update
        if change <= 1e-12 * max(1.0, float(np.abs(x).max())):
            return x
    raise ValueError(f"the tanh system did not settle (last change {change:.2g}); use a smaller weight_range")


def _cut(record: np.ndarray, n_windows: int, window: int) -> np.ndarray:
    """Windows [N, C, T] one after another from the middle of a record [1, C, length]."""
    start = (record.shape[-1] - n_windows * window) // 2
    middle = record[0, :, start : start + n_windows * window]
    return np.ascontiguousarray(middle.reshape(len(middle), n_windows, window).swapaxes(0, 1))


def _violate(
    rng: np.random.Generator, x: np.ndarray, measurement_noise: float, zero_lag_mixing: float, drift: float
) -> np.ndarray:
    """Add what the model does not contain: mixing at zero lag, then drift, then noise of the sensors."""
    n_windows, n_channels, window = x.shape
    if zero_lag_mixing:
        step = np.abs(np.subtract.outer(np.arange(n_channels), np.arange(n_channels)))
        x = zero_lag_mixing ** np.minimum(step, n_channels - step) @ x
    deviation = x.std((0, 2))[:, None]
    if drift:
        time = (np.arange(n_windows * window) / (n_windows * window)).reshape(n_windows, 1, window)
        phase = rng.uniform(0, 2 * np.pi, (n_channels, 1))
        x = x + drift * deviation * np.sin(2 * np.pi * rng.uniform(0.5, 2.0, (n_channels, 1)) * time + phase)
    if measurement_noise:
        x = x + measurement_noise * deviation * rng.standard_normal(x.shape)
    return x
