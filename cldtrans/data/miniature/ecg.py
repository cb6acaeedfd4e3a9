"""Twelve-lead electrocardiograms: a heart vector per wave, seen by eight independent leads.

A beat is a sum of Gaussian waves, each with its own direction in space (McSharry et al. 2003, Sameni et al.
2007); Dower's coefficients (Dower et al. 1980) turn directions into leads I, II, V1-V6, and the other four
limb leads follow from I and II in whole numbers, so that twelve leads have rank eight. Diseases change shape:
Q waves, ST segment, T direction, QRS width and notches, P waves. What a classifier must not use is made
equal: heart rate comes from one distribution, and after the beats are built the covariance of I and II and
the level of V1-V6 are set to values drawn without looking at the class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATE_HZ = 500
SECONDS = 10
STANDARD = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")

# Rows I, II, V1-V6; columns x (to the left), y (to the feet), z (to the back).
_DOWER = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
_TYPICAL_MV = np.array([0.18, 0.30, 0.32, 0.28, 0.26, 0.22])  # standard deviations of V1-V6
_TERRITORY = {  # direction of the injured wall
    "IMI": (0.1, 1.0, 0.1),
    "ASMI": (0.15, 0.1, -1.0),
    "LMI": (1.0, 0.1, -0.2),
}
CODES = {  # statements of each superclass that the generator knows
    "NORM": ("NORM",),
    "MI": tuple(_TERRITORY),
    "STTC": ("NDT", "ISC_", "ISCAL"),
    "CD": ("CRBBB", "CLBBB", "1AVB"),
    "HYP": ("LVH", "LAO/LAE"),
}


@dataclass
class Wave:
    """One Gaussian of a beat: centre and width in seconds from the R peak, direction and strength in mV."""

    centre_s: float
    width_s: float
    vector: np.ndarray  # [3]


def normal_beat(rng: np.random.Generator) -> dict[str, Wave]:
    """Draw a healthy beat with its subject's own axis, proportions and timing."""
    beat = {
        "P": Wave(-0.165, 0.022, np.array([0.07, 0.13, -0.02])),
        "Q": Wave(-0.026, 0.008, np.array([-0.16, -0.05, -0.28])),
        "R": Wave(0.0, 0.012, np.array([0.95, 0.80, 0.40])),
        "S": Wave(0.028, 0.011, np.array([-0.15, -0.10, 0.55])),
        "T1": Wave(0.245, 0.055, np.array([0.14, 0.12, -0.09])),
        "T": Wave(0.290, 0.036, np.array([0.20, 0.16, -0.13])),
    }
    turn = _rotation(0.28 * rng.standard_normal(3))
    pr_s = 0.02 * rng.standard_normal()
    for name, wave in beat.items():
        wave.vector = turn @ wave.vector * np.exp(0.18 * rng.standard_normal())
        wave.width_s *= np.exp(0.07 * rng.standard_normal())
        if name == "P":
            wave.centre_s += pr_s
    return beat


def diseased_beat(rng: np.random.Generator, beat: dict[str, Wave], codes: list[str]) -> dict[str, Wave]:
    """Change a beat by each statement of `codes`, each with its own severity."""
    beat = {name: Wave(wave.centre_s, wave.width_s, wave.vector.copy()) for name, wave in beat.items()}
    for code in codes:
        severity = rng.uniform(0.25, 1.1)
        if code in _TERRITORY:
            _infarct(rng, beat, np.array(_TERRITORY[code]), severity)
        elif code in CODES["STTC"]:
            _repolarise(rng, beat, code, severity)
        elif code in CODES["CD"]:
            _slow_conduction(beat, code, severity)
        elif code in CODES["HYP"]:
            _enlarge(beat, code, severity)
    return beat


def _infarct(rng: np.random.Generator, beat: dict[str, Wave], wall: np.ndarray, severity: float) -> None:
    """Broad Q waves pointing away from the wall, less R towards it, raised ST segment, later inverted T."""
    beat["necrosis"] = Wave(-0.022, 0.013, -0.55 * severity * wall)
    beat["R"].vector -= 0.35 * severity * np.maximum(beat["R"].vector @ wall, 0) * wall
    acute = rng.uniform()
    beat["injury"] = Wave(0.12, 0.055, 0.20 * severity * (0.3 + 0.7 * acute) * wall)
    for name in ("T1", "T"):
        beat[name].vector -= 0.22 * severity * (1.3 - acute) * wall


def _repolarise(rng: np.random.Generator, beat: dict[str, Wave], code: str, severity: float) -> None:
    """ST depression and flat or inverted T waves without any change of the QRS complex."""
    if code != "NDT":
        wall = np.array([0.8, 0.45, -0.35]) if code == "ISC_" else np.array([0.7, 0.0, -0.75])
        beat["ischaemia"] = Wave(0.115, 0.05, -0.16 * severity * wall)
    keep = 1 - severity * rng.uniform(0.6, 1.6)
    for name in ("T1", "T"):
        beat[name].vector *= keep


def _slow_conduction(beat: dict[str, Wave], code: str, severity: float) -> None:
    """Bundle branch blocks (wide, notched, with opposite T waves) and first-degree atrioventricular block."""
    if code == "1AVB":
        beat["P"].centre_s -= 0.05 + 0.07 * severity
        return
    if code == "CRBBB":
        beat["late"] = Wave(0.065, 0.020, severity * np.array([-0.55, 0.05, -0.65]))
        beat["S"].width_s *= 1.3
    else:
        beat["Q"].vector *= 0.1
        beat["R"].width_s *= 1.25 + 0.35 * severity
        beat["late"] = Wave(0.052, 0.020, beat["R"].vector * 0.75 * severity + [0.1, 0.0, 0.2])
        beat["S"].vector *= 0.3
    for name in ("T1", "T"):
        beat[name].centre_s += 0.03
        beat[name].vector = (1 - 0.9 * severity) * beat[name].vector - 0.15 * beat["late"].vector


def _enlarge(beat: dict[str, Wave], code: str, severity: float) -> None:
    """Tall R waves against the same patient's T and P waves, with strain; or broad double-humped P waves."""
    if code == "LVH":
        for name in ("R", "S"):
            beat[name].vector *= 1.5 + 0.7 * severity
        beat["R"].centre_s += 0.006
        beat["strain"] = Wave(0.13, 0.06, -0.12 * severity * np.array([1.0, 0.3, 0.35]))
        beat["T"].vector *= 0.6
    else:
        beat["P"].vector *= 1.3
        beat["P2"] = Wave(
            beat["P"].centre_s + 0.045 + 0.015 * severity,
            beat["P"].width_s,
            np.array([0.13, 0.03, 0.14]) * (0.7 + severity),
        )
        beat["P"].centre_s -= 0.02


def record(rng: np.random.Generator, beat: dict[str, Wave], mains_hz: float = 50.0) -> np.ndarray:
    """Draw ten seconds of eight independent leads.

    Parameters
    ----------
    rng : Generator
        Draws rate and noise.
    beat : dict of str to Wave
        The patient's beat, by wave.
    mains_hz : float
        Frequency of the power line.

    Returns
    -------
    array [8, 5000]
        I, II, V1-V6 in millivolts.
    """
    n = RATE_HZ * SECONDS
    clean = _beats(rng, beat, n)
    covariance = np.cov(clean[:2])
    covariance += 0.03 * np.trace(covariance) * np.eye(2)
    gain = np.exp(0.3 * rng.standard_normal())
    limb = np.array([0.13, 0.16]) * gain * np.exp(0.25 * rng.standard_normal(2))
    correlation = rng.uniform(0.0, 0.8)
    wanted = np.outer(limb, limb) * np.array([[1, correlation], [correlation, 1]])
    clean[:2] = np.linalg.cholesky(wanted) @ np.linalg.solve(np.linalg.cholesky(covariance), clean[:2])
    chest = _TYPICAL_MV * gain * np.exp(0.3 * rng.standard_normal(6))
    clean[2:] *= (chest / clean[2:].std(axis=1))[:, None]
    return clean + _noise(rng, n, mains_hz)


def _beats(rng: np.random.Generator, beat: dict[str, Wave], n: int) -> np.ndarray:
    """Sum all beats, [8, n]; every lead sees each wave a little differently and up to 6 ms later."""
    mean_s = np.clip(0.84 * np.exp(0.17 * rng.standard_normal()), 0.5, 1.35)
    count = int(SECONDS / (0.7 * mean_s)) + 4
    breath = 0.035 * np.sin(2 * np.pi * 0.25 * mean_s * np.arange(count) + rng.uniform(0, 2 * np.pi))
    intervals = mean_s * (1 + breath + 0.02 * rng.standard_normal(count))
    at_s = np.cumsum(intervals) - rng.uniform(0.3, 1.3) * mean_s - 0.4  # [beats]
    strength = 1 + 0.05 * rng.standard_normal(count)

    waves = list(beat.items())
    vectors = np.array([wave.vector for _, wave in waves])  # [W, 3]
    see = _DOWER[None] * (1 + 0.18 * rng.standard_normal((len(waves), *_DOWER.shape)))
    amplitude = np.einsum("wlk,wk->wl", see, vectors)  # [W, leads]
    lag_s = rng.uniform(0, 0.006, len(_DOWER))
    width_s = np.array([wave.width_s for _, wave in waves])
    centre_s = np.tile([wave.centre_s for _, wave in waves], (count, 1))
    late = np.array([wave.centre_s > 0.08 for _, wave in waves])
    centre_s[:, late] *= np.sqrt(intervals / 0.84)[:, None] ** 0.8  # QT follows the heart rate

    half = round(0.28 * RATE_HZ)
    peak_s = at_s[:, None, None] + centre_s[:, :, None] + lag_s  # [beats, W, leads]
    index = np.rint(peak_s * RATE_HZ).astype(int)[..., None] + np.arange(-half, half + 1)
    t = index / RATE_HZ - peak_s[..., None]
    values = np.exp(-0.5 * (t / width_s[:, None, None]) ** 2)
    values *= (amplitude * strength[:, None, None])[..., None]
    inside = (index >= 0) & (index < n)
    flat = index + n * np.arange(len(_DOWER))[:, None]
    return np.bincount(flat[inside], values[inside], minlength=len(_DOWER) * n).reshape(len(_DOWER), n)


def _noise(rng: np.random.Generator, n: int, mains_hz: float) -> np.ndarray:
    """Baseline wander, muscle and mains of eight leads, [8, n] millivolt."""
    t = np.arange(n) / RATE_HZ
    rate_hz = rng.uniform(0.12, 0.4, (8, 2, 1))
    wander = np.sin(2 * np.pi * (rate_hz * t + rng.uniform(0, 1, (8, 2, 1)))).sum(axis=1)
    wander *= 0.04 * np.exp(0.7 * rng.standard_normal((8, 1)))
    muscle = rng.standard_normal((8, n + 1))
    muscle = (muscle[:, 1:] + muscle[:, :-1]) * 0.006 * np.exp(0.5 * rng.standard_normal((8, 1)))
    mains = np.sin(2 * np.pi * (mains_hz * t + rng.uniform(0, 1)))
    return wander + muscle + 0.004 * np.exp(0.6 * rng.standard_normal((8, 1))) * mains


def to_leads(eight: np.ndarray, gain: float, order: tuple[str, ...] = STANDARD) -> np.ndarray:
    """Derive the twelve leads, obeying Einthoven and Goldberger to a step.

    Parameters
    ----------
    eight : array [8, T]
        I, II, V1-V6 in millivolts.
    gain : float
        Steps a millivolt.
    order : tuple of str
        The leads' names in capitals.

    Returns
    -------
    array [12, T] of int
        Whole steps of 1/`gain` mV.
    """
    first, second = (2 * np.rint(eight[:2] * gain / 2)).astype(np.int64)  # even: halves stay whole
    leads = {
        "I": first,
        "II": second,
        "III": second - first,
        "AVR": -(first + second) // 2,
        "AVL": first - second // 2,
        "AVF": second - first // 2,
    }
    chest = np.rint(eight[2:] * gain).astype(np.int64)
    leads |= {f"V{k + 1}": row for k, row in enumerate(chest)}
    return np.clip(np.stack([leads[name] for name in order]), -32767, 32767)


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation matrix of three small angles, [3, 3]."""
    cos, sin = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cos[0], -sin[0]], [0, sin[0], cos[0]]])
    about_y = np.array([[cos[1], 0, sin[1]], [0, 1, 0], [-sin[1], 0, cos[1]]])
    about_z = np.array([[cos[2], -sin[2], 0], [sin[2], cos[2], 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
