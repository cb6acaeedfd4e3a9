"""A small BIDS folder of intracranial EEG: a discharge at a known onset, whose lead is in the marked zone."""

from pathlib import Path

import numpy as np

from cldtrans.data.miniature.edf_writer import EdfSignal, write_edf

RATE_HZ, DURATION_S, ONSET_S, END_S = 400.0, 90.0, 55.0, 85.0
DEPTH = tuple(f"{shaft}{contact}" for shaft in "ABC" for contact in range(1, 5))
BAD, HEART = "C4", "EKG1"
EVENTS = "onset\tduration\ttrial_type\n5.0\tn/a\teyes closed\n{onset}\t{lasts}\tSZ event eeg onset\n"


def signals(lead: int, seed: int) -> np.ndarray:
    """Pink noise of 20 uV in each contact [12, T]; from the onset on sharp waves, 15 ms later a contact."""
    rng = np.random.default_rng(seed)
    n_samples = round(DURATION_S * RATE_HZ)
    spectrum = np.fft.rfft(rng.standard_normal((len(DEPTH), n_samples)))
    frequency = np.fft.rfftfreq(n_samples, 1 / RATE_HZ)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 1.0)), n_samples)
    x = 20 * noise / noise.std(axis=1, keepdims=True)
    gaps = (1 + 0.1 * rng.standard_normal(200)) / 3.5
    times = ONSET_S + 0.2 + np.cumsum(gaps)
    for row, hops in enumerate(abs(np.arange(len(DEPTH)) - lead)):
        since = np.arange(n_samples) / RATE_HZ - 0.015 * hops
        for time_s in times[times < END_S - 1]:
            x[row] += 80 * rng.uniform(0.9, 1.1) * np.exp(-0.5 * ((since - time_s) / 0.02) ** 2)
    return x


def write_bids(folder: Path, leads: tuple[int, ...] = (1, 6)) -> Path:
    """One recording a subject: EDF with the zone among channels, BrainVision with it among electrodes."""
    for number, lead in enumerate(leads):
        subject = f"sub-{number + 1:02d}"
        place = folder / subject / "ses-presurgery" / "ieeg"
        place.mkdir(parents=True)
        stem = f"{subject}_ses-presurgery_task-ictal_run-01"
        x = signals(lead, number)
        zone = {DEPTH[lead], DEPTH[lead + 1], BAD}
        if number == 0:
            heart = np.sin(np.arange(x.shape[1]) / 50)
            rows = [*zip(DEPTH, x, strict=True), (HEART, heart)]
            edf = [EdfSignal(name, row, RATE_HZ, (-600.0, 600.0)) for name, row in rows]
            write_edf(place / f"{stem}_ieeg.edf", edf)
        else:
            write_brainvision(place / f"{stem}_ieeg.vhdr", x)
        head, mark = ("\tstatus_description", {True: "SOZ", False: "n/a"}) if number == 0 else ("", {})
        table = [f"name\ttype\tunits\tstatus{head}"]
        for name in (*DEPTH, *((HEART,) if number == 0 else ())):
            kind, status = ("SEEG", "bad" if name == BAD else "good") if name in DEPTH else ("ECG", "good")
            table.append(f"{name}\t{kind}\tuV\t{status}" + (f"\t{mark[name in zone]}" if mark else ""))
        (place / f"{stem}_channels.tsv").write_text("\n".join(table) + "\n")
        lasts = END_S - ONSET_S if number == 0 else "n/a"
        (place / f"{stem}_events.tsv").write_text(EVENTS.format(onset=ONSET_S, lasts=lasts))
        electrodes = ["name\tx\ty\tz\tsize\tstatus_description"]
        electrodes += [f"{name}\t0\t0\t0\t1\t{'onset, soz' if name in zone else 'n/a'}" for name in DEPTH]
        (place / f"{subject}_ses-presurgery_electrodes.tsv").write_text("\n".join(electrodes) + "\n")
    return folder


def write_brainvision(path: Path, x: np.ndarray) -> None:
    """Microvolts [12, T] as 32-bit floats, multiplexed."""
    x.T.astype("<f4").tofile(path.with_suffix(".eeg"))
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\n\n[Marker Infos]\n"
    )
    channels = "\n".join(f"Ch{k + 1}={name},,1,µV" for k, name in enumerate(DEPTH))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\nDataFormat=BINARY\n"
        f"DataOrientation=MULTIPLEXED\nNumberOfChannels={len(x)}\nSamplingInterval={1e6 / RATE_HZ:g}\n\n"
        f"[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n\n[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
