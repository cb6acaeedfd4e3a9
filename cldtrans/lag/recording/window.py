"""A stretch of a recording, made ready for a fit: reference, filter, resample, cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from cldtrans.data.montages.dependent_leads import dependent_leads
from cldtrans.data.montages.electrodes import closing_a_loop, is_bipolar, scalp_pair
from cldtrans.data.montages.kinds import Kind, other_system
from cldtrans.data.montages.reference import Reference, outside_the_banana, rereference, usual_reference
from cldtrans.data.montages.spelling import cleaned
from cldtrans.data.quality import fill_gaps
from cldtrans.data.recording import Recording, from_raw, open_recording
from cldtrans.data.zero_phase import band_pass
from cldtrans.errors import DataError, listing, suggestion
from cldtrans.lag.fit.likelihood import Innovation

if TYPE_CHECKING:
    import mne

BAND_HZ = (0.5, 40.0)
FILLED = 0.9
"""Part of the new spectrum below the band's upper edge: all of it would leave the filter's slope no room."""
LEAST_FILLED = 0.75
"""Part that the whole band must fill where the likelihood is one of samples, not of frequencies."""
MARGIN_CYCLES = 6.0
"""Cycles of the band's lower edge after which the filter's response is below 1e-6."""
LARGEST_DIVISOR = 2000


@dataclass(frozen=True)
class Window:
    """A stretch of a recording, ready to be fitted.

    x          at `rate_hz`, band-passed
    channels   names, as referenced
    notes      what was left out, one line each
    """

    x: Float[np.ndarray, "C T"]
    channels: list[str]
    rate_hz: float
    start_s: float
    stop_s: float
    band_hz: tuple[float, float]
    reference: Reference
    innovation: Innovation
    origin: str
    notes: list[str]

    @property
    def expected_s(self) -> float:
        """Rough duration of the fit on one core, from a few that were measured; within a factor of 3.

        Of recordings with many edges, as real ones have; systems with few are fitted in less.
        """
        n_channels, n_samples = self.x.shape
        return 1.0 + 3e-5 * n_channels**2 * n_samples


def cut_window(
    source: str | Path | Recording | mne.io.BaseRaw,
    start_s: float = 0.0,
    stop_s: float | None = None,
    channels: Sequence[str] | None = None,
    reference: Reference | None = None,
    band_hz: tuple[float, float] = BAND_HZ,
    innovation: Innovation | None = None,
) -> Window:
    """Cut a stretch out of a recording, after its surroundings are referenced, filtered and resampled.

    Parameters
    ----------
    source : str or Path or Recording or mne.io.BaseRaw
        A file, a recording, or one of mne's.
    start_s, stop_s : float
        Seconds from the recording's beginning; default: all of it.
    channels : sequence of str, optional
        Names after referencing; default: all scalp channels, or all channels where none is known.
    reference : one of "bipolar", "laplacian", "average", "none", optional
        See `rereference`; default: bipolar for scalp EEG with neighbouring electrodes, else none.
    band_hz : (float, float)
        Pass band. The rate becomes the one of which the band's upper edge is 90 % of the Nyquist
        frequency.
    innovation : one of "laplace", "student", "gaussian", optional
        Density of the innovations; default: "laplace" for scalp EEG, "gaussian" for anything else. In an
        ECG they are bursts: between beats there is noise alone, and a density that follows the many small
        values fits the noise.

    Returns
    -------
    Window
        Ready for `fit_window`.

    Raises
    ------
    DataError
        One line that begins with the file.
    """
    if isinstance(source, (str, Path)):
        recording = open_recording(source)
    else:
        recording = source if isinstance(source, Recording) else from_raw(source)
    try:
        return _cut(recording, start_s, stop_s, channels, reference, band_hz, innovation)
    except DataError as error:
        raise DataError(begin_with(recording.origin, error)) from error


def _cut(
    recording: Recording,
    start_s: float,
    stop_s: float | None,
    channels: Sequence[str] | None,
    reference: Reference | None,
    band_hz: tuple[float, float],
    innovation: Innovation | None,
) -> Window:
    """Cut a window out of an open recording."""
    stop_s = recording.duration_s if stop_s is None else stop_s
    first, last = _samples(recording, start_s, stop_s)
    begin, end = _surroundings(recording, first, last, band_hz[0])
    data, inside = recording.read(begin, end), slice(first - begin, last - begin)

    names, kinds = recording.names, dict(zip(recording.names, recording.kinds, strict=True))
    flat = _flat(data[:, inside])
    silent = [name for name, is_flat in zip(names, flat, strict=True) if is_flat]
    lively = [name for name, is_flat in zip(names, flat, strict=True) if not is_flat]
    how = _reference(lively, kinds, channels) if reference is None else reference
    used, aside = _kept(lively, kinds, how, channels)
    notes = list(recording.notes)
    if silent:
        notes.append(
            f"flat from {start_s:g} to {stop_s:g} s, and left out: {', '.join(map(cleaned, silent))}"
        )
    notes += aside
    if reference is None and channels is None and other_system(used, kinds):
        notes.append(
            f"no electrode of the 10-05 system, found {listing(used)}: no montage was derived, and all are "
            "used as recorded; choose some of them (--channels), or confirm with reference none (--reference)"
        )
    taken = [names.index(name) for name in used]
    gaps = [name for name, row in zip(used, taken, strict=True) if np.isnan(data[row, inside]).any()]
    data, referenced = rereference(fill_gaps(data[taken]), used, how)
    if how != "none":
        _check_one_unit({recording.units[row] for row in taken}, how)
    if how == "bipolar" and (others := outside_the_banana(used)):
        notes.append(f"no part of the double banana, and left out: {', '.join(map(cleaned, others))}")

    if how == "bipolar" and not is_bipolar(used):
        notes.append(
            f"{len(used)} scalp electrodes became {len(referenced)} bipolar pairs of the double banana"
        )
        _explain_pairs(channels, used, referenced)
    rows = _chosen(referenced, channels, silent)
    if gaps and (how != "none" or any(referenced[i] in gaps for i in rows)):
        raise DataError(
            f"channels {listing(gaps)} have gaps between {start_s:g} and {stop_s:g} s; choose another "
            "window or other channels"
        )
    if how != "none" or all(kinds[name] == "eeg" for name in used):
        rows, sums = _independent(referenced, rows)
        notes += sums
    elif channels is None and (leads := set(dependent_leads([referenced[row] for row in rows]))):
        follow = ", ".join(cleaned(referenced[row]) for i, row in enumerate(rows) if i in leads)
        notes.append(
            f"limb leads that are sums of two others, and left out: {follow}; name channels (--channels) to "
            "use others"
        )
        rows = [row for i, row in enumerate(rows) if i not in leads]
    if len(rows) < 2:
        found = listing([referenced[i] for i in rows]) if rows else "none"
        raise DataError(f"two channels or more are needed, found {found} ({'; '.join(notes) or 'no others'})")

    if innovation is None:
        scalp = how != "none" or any(kinds[referenced[i]] == "eeg" for i in rows)
        innovation = "laplace" if scalp else "gaussian"
    up, down = _resampling(recording.rate_hz, band_hz, innovation)
    cut = slice(*(-(-(sample - begin) * up // down) for sample in (first, last)))
    return Window(
        x=_filtered(data[rows], recording.rate_hz, band_hz, up, down)[:, cut],
        channels=[referenced[i] for i in rows],
        rate_hz=recording.rate_hz * up / down,
        start_s=start_s,
        stop_s=stop_s,
        band_hz=band_hz,
        reference=how,
        innovation=innovation,
        origin=recording.origin,
        notes=notes,
    )


def _samples(recording: Recording, start_s: float, stop_s: float) -> tuple[int, int]:
    """(first, last + 1) of a window that lies inside the recording, on one side of each break."""
    if not 0 <= start_s < stop_s <= recording.duration_s + 0.5 / recording.rate_hz:
        raise DataError(
            f"the window {start_s:g} to {stop_s:g} s is not inside the recording, 0 to "
            f"{recording.duration_s:g} s"
        )
    first, last = (
        min(round(time_s * recording.rate_hz), recording.n_samples) for time_s in (start_s, stop_s)
    )
    across = [sample for sample in recording.breaks if first < sample < last]
    if across:
        raise DataError(
            f"the recording is spliced at {across[0] / recording.rate_hz:g} s, where a piece was taken out; "
            "choose a window on one side"
        )
    if last - first < 2:
        raise DataError(f"the window {start_s:g} to {stop_s:g} s holds {last - first} samples")
    return first, last


def _surroundings(recording: Recording, first: int, last: int, low_hz: float) -> tuple[int, int]:
    """(first, last + 1) of what the filter sees: as much around the window as it remembers, up to a break."""
    margin = round(MARGIN_CYCLES / low_hz * recording.rate_hz) if low_hz > 0 else 0
    begin = max([0, first - margin, *(sample for sample in recording.breaks if sample <= first)])
    end = min(
        [recording.n_samples, last + margin, *(sample for sample in recording.breaks if sample >= last)]
    )
    return begin, end


def _flat(data: np.ndarray) -> np.ndarray:
    """Tell of each channel of [C, T] whether it has one value only, or none."""
    return np.nanmax(data, axis=1, initial=-np.inf) <= np.nanmin(data, axis=1, initial=np.inf)


def _check_one_unit(units: set[str], how: Reference) -> None:
    if len(units) > 1:
        raise DataError(
            f"reference {how!r} combines channels of one unit, found {listing(sorted(units))}; choose "
            "channels (--channels) or reference none"
        )


def _independent(names: list[str], rows: list[int]) -> tuple[list[int], list[str]]:
    """Rows that are no sums of earlier ones, and what is said of the others."""
    loops = closing_a_loop([names[row] for row in rows])
    sums = ", ".join(names[rows[i]] for i in loops)
    note = f"sums of other channels, and left out, because they carry nothing of their own: {sums}"
    return [row for i, row in enumerate(rows) if i not in loops], [note] if loops else []


def _filtered(
    data: np.ndarray, sample_rate: float, band_hz: tuple[float, float], up: int, down: int
) -> np.ndarray:
    """Band-pass at `up / down` of the rate."""
    if (up, down) == (1, 1):
        return band_pass(data, sample_rate, sample_rate, band_hz)
    # In a unit in which both rates are whole numbers, whatever odd rate a recorder's clock gave.
    unit = down / sample_rate
    return band_pass(data, float(down), float(up), (band_hz[0] * unit, band_hz[1] * unit))


def _resampling(sample_rate: float, band_hz: tuple[float, float], innovation: Innovation) -> tuple[int, int]:
    """(up, down) to the rate that the band fills, the simplest ratio within 2 % of it; (1, 1) if not lower.

    Frequencies beyond the filter's band hold nothing, and a likelihood of samples would fit that nothing.
    """
    low, high = band_hz
    if not 0 < low < high:
        raise DataError(f"the band is {low:g} to {high:g} Hz; expected 0 < low < high")
    if high >= sample_rate / 2:
        raise DataError(
            f"the band {low:g} to {high:g} Hz needs a sampling rate above {2 * high:g} Hz; the recording has "
            f"{sample_rate:g} Hz: use a band below {sample_rate / 2:g} Hz"
        )
    wanted = 2 * high / FILLED / sample_rate
    up = down = 1
    if wanted < 1:
        for down in range(1, LARGEST_DIVISOR + 1):
            up = round(wanted * down)
            if abs(up / down / wanted - 1) < 0.02:
                break
        else:
            raise DataError(
                f"the band {low:g} to {high:g} Hz is too narrow for a recording at {sample_rate:g} Hz"
            )
    filled = (high - low) / (sample_rate * up / down / 2)
    if filled < LEAST_FILLED and innovation != "gaussian":
        raise DataError(
            f"the band {low:g} to {high:g} Hz would fill only {100 * filled:.0f} % of the spectrum, where a "
            f"{innovation} likelihood is not valid; use a lower edge of at most "
            f"{max(high * (1 - LEAST_FILLED / FILLED), 0):.2g} Hz, or gaussian innovations"
        )
    return up, down


def _reference(names: list[str], kinds: dict[str, Kind], channels: Sequence[str] | None) -> Reference:
    """Choose the usual one for the scalp channels; none where other channels were asked for."""
    recorded = {_plain(name): kinds[name] for name in names}
    if channels is not None and any(recorded.get(_plain(name), "eeg") != "eeg" for name in channels):
        return "none"
    return usual_reference([name for name in names if kinds[name] == "eeg"])


def _kept(
    names: list[str], kinds: dict[str, Kind], how: Reference, channels: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Channels that a fit may hold, and what is said of the others."""
    scalp = [name for name in names if kinds[name] == "eeg"]
    if how != "none":  # where there is no electrode, the reference says what it found
        kept, why = scalp or names, "no scalp EEG"
    elif channels is not None:  # who asks for a channel gets it
        return names, []
    elif scalp:
        kept, why = scalp, "no scalp EEG"
    else:
        kept, why = [name for name in names if kinds[name] != "trigger"], "triggers"
    others = [name for name in names if name not in kept]
    how_to = "; name channels (--channels) to use them" if why == "no scalp EEG" else ""
    return kept, [f"{why}, and left out: {', '.join(map(cleaned, others))}{how_to}"] if others else []


def _explain_pairs(wanted: Sequence[str] | None, electrodes: Sequence[str], pairs: Sequence[str]) -> None:
    """Raise where electrodes are asked for, and the channels are pairs of them."""
    known = {_plain(pair) for pair in pairs}
    single = {_plain((scalp_pair(name) or (name, ""))[0]) for name in electrodes}
    alone = [name for name in wanted or () if _plain(name) not in known and _plain(name) in single]
    if alone:
        asked = set(map(_plain, alone))
        theirs = [pair for pair in pairs if {_plain(end) for end in pair.split("-")} & asked]
        raise DataError(
            f"channels are bipolar pairs here, and single electrodes are asked for: {listing(alone)}; type "
            f"--channels {' '.join(theirs[:4]) or 'with names of pairs'}, or --reference none --channels "
            f"{' '.join(wanted or ())} for electrodes as recorded"
        )


def _chosen(names: list[str], wanted: Sequence[str] | None, silent: list[str]) -> list[int]:
    """Positions of the wanted channels; capitals, dots and `EEG` in front do not matter."""
    if wanted is None:
        return list(range(len(names)))
    known: dict[str, int] = {}
    for position, name in enumerate(names):
        known.setdefault(_plain(name), position)
    unknown = [name for name in wanted if _plain(name) not in known]
    flat = [name for name in unknown if _plain(name) in map(_plain, silent)]
    if flat:
        raise DataError(f"channels {listing(flat)} are flat in this window")
    if unknown:
        raise DataError(f"no channel {unknown[0]!r}{suggestion(_plain(unknown[0]), known)}")
    return list(dict.fromkeys(known[_plain(name)] for name in wanted))


def _plain(name: str) -> str:
    return name.strip().upper().removeprefix("EEG ").strip(" .")


def begin_with(origin: str, error: DataError) -> str:
    """Put the file in front of the message, unless it is there already."""
    message = str(error)
    return message if message.startswith(origin) else f"{origin}: {message}"
