"""Against what the electrodes of a scalp recording are measured: pairs, neighbours, the average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from cldtrans.data.montages.electrodes import is_bipolar, scalp_pair
from cldtrans.data.montages.montage import DOUBLE_BANANA, apply_recipe, bipolar_recipe
from cldtrans.errors import DataError, listing

Reference = Literal["bipolar", "laplacian", "average", "none"]
LEAST_FOR_SPLINES = 8
"""Electrodes below which a spline through the scalp potential is a guess."""


def usual_reference(names: Sequence[str]) -> Reference:
    """Return bipolar where it can be formed, since a common reference looks like lags of zero; else none."""
    scalp = [name for name in names if scalp_pair(name) is not None]
    formed = sum(recipe[0] >= 0 for recipe in bipolar_recipe(scalp, DOUBLE_BANANA))
    return "bipolar" if formed > 1 or (len(scalp) > 1 and is_bipolar(scalp)) else "none"


def rereference(data: np.ndarray, names: Sequence[str], reference: Reference) -> tuple[np.ndarray, list[str]]:
    """Measure scalp channels against another reference.

    Parameters
    ----------
    data : array [C, T]
        Channels in one unit, no NaN.
    names : sequence of str
        Of the C channels.
    reference : one of "bipolar", "laplacian", "average", "none"
        What the channels are measured against:

        - "bipolar": those of the 18 double-banana channels that can be formed; recordings in another bipolar
          montage stay as they are.
        - "laplacian": mne's current source density, the spherical-spline surface Laplacian (Perrin et al.
          1989). It is the standard one; Hjorth's mean of the nearest neighbours lacks neighbours at the rim
          of the head, where it becomes a bipolar channel of arbitrary direction.
        - "average": minus the mean of the scalp channels.
        - "none": everything as recorded.

    Returns
    -------
    data : array [K, T] of float32
        The channels against the new reference.
    names : list of str
        Of the K channels: pairs, or electrodes in capitals.

    Raises
    ------
    DataError
        Too few electrodes with known names, or channels that are bipolar already.
    """
    if reference not in get_args(Reference):
        raise DataError(f"reference is {reference!r}; known: {', '.join(get_args(Reference))}")
    if reference == "none":
        return data, list(names)
    scalp = [i for i, name in enumerate(names) if scalp_pair(name) is not None]
    if len(scalp) < 2:
        raise DataError(
            f"reference {reference!r} needs scalp electrodes with their 10-20 names, found "
            f"{listing(list(names))}; use reference none"
        )
    data, names = data[scalp], [names[i] for i in scalp]
    if reference == "bipolar":
        return _bipolar(data, names)
    if is_bipolar(names):
        raise DataError(
            f"the channels are bipolar ({listing(list(names))}): reference {reference!r} is not defined for "
            "them; use bipolar or none"
        )
    electrodes = [pair[0] for pair in map(scalp_pair, names) if pair is not None]
    first = sorted({electrodes.index(name) for name in electrodes})  # of several equal ones
    data, electrodes = data[first], [electrodes[i] for i in first]
    if reference == "average":
        return data - data.mean(0, keepdims=True), electrodes
    return _laplacian(data, electrodes), electrodes


def outside_the_banana(names: Sequence[str]) -> list[str]:
    """Return the scalp channels of which reference "bipolar" makes no use."""
    formed = _formed(names)
    used = {row for _, (i, j, _) in formed for row in (i, j)}
    return [name for row, name in enumerate(names) if row not in used] if formed else []


def _formed(names: Sequence[str]) -> list[tuple[str, tuple[int, int | None, float]]]:
    """(channel, recipe) of the double banana; none for a recording in another bipolar montage."""
    recipes = bipolar_recipe(names, DOUBLE_BANANA)
    formed = [
        (target, recipe) for target, recipe in zip(DOUBLE_BANANA, recipes, strict=True) if recipe[0] >= 0
    ]
    other_montage = is_bipolar(names) and 2 * len(formed) < len(names)
    return formed if len(formed) > 1 and not other_montage else []


def _bipolar(data: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    formed = _formed(names)
    if formed:
        return apply_recipe(data, [recipe for _, recipe in formed]), [target for target, _ in formed]
    if is_bipolar(names):
        return data, names
    raise DataError(
        f"no two channels of the double banana can be formed from {listing(names)}; use reference average, "
        "laplacian or none"
    )


def _laplacian(data: np.ndarray, electrodes: list[str]) -> np.ndarray:
    import mne

    if len(electrodes) < LEAST_FOR_SPLINES:
        raise DataError(
            f"reference 'laplacian' needs {LEAST_FOR_SPLINES} electrodes or more, found "
            f"{len(electrodes)}: {', '.join(electrodes)}; use bipolar"
        )
    montage = mne.channels.make_standard_montage("colin27_1005")
    spelled = {name.upper(): name for name in montage.ch_names}
    info = mne.create_info([spelled[name] for name in electrodes], 1.0, "eeg")  # the rate plays no part
    raw = mne.io.RawArray(data.astype(float), info, verbose="ERROR").set_montage(montage, verbose="ERROR")
    raw = mne.preprocessing.compute_current_source_density(raw, verbose="ERROR")
    return raw.get_data().astype(np.float32)
