"""MIMIC-IV-ECG 1.0 in miniature: leads in that set's own order, some flat or not measured, no labels."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

import numpy as np

from cldtrans.data.miniature.ecg import CLASSES, CODES, RATE_HZ, diseased_beat, normal_beat, record, to_leads
from cldtrans.data.miniature.scales import Scale
from cldtrans.data.miniature.truth import Truth, generator
from cldtrans.data.miniature.wfdb_writer import INVALID, write_record

LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
_GAIN = 200.0


def write(folder: Path, scale: Scale, seed: int, truth: Truth) -> list[str]:
    """Write all records and ``record_list.csv`` under `folder` and return the lines of RECORDS."""
    table: list[list[object]] = []
    subject_id = 10_000_032
    order = generator(seed, "mimic order")
    for k in range(scale.mimic_records):
        if k and order.random() < 0.65:  # several recordings of many subjects
            subject_id += int(order.integers(5, 900))
        study_id = 40_000_000 + int(order.integers(9_999_999))
        subject = generator(seed, "mimic subject", subject_id)
        kind = CLASSES[int(subject.choice(len(CLASSES), p=[0.3, 0.2, 0.2, 0.2, 0.1]))]
        beat = diseased_beat(subject, normal_beat(subject), [str(subject.choice(CODES[kind]))])
        draw = generator(seed, "mimic record", k)
        eight = record(draw, beat, mains_hz=60.0)
        digital = to_leads(eight, _GAIN, tuple(name.upper() for name in LEADS))
        key = f"files/p{subject_id // 10_000}/p{subject_id}/s{study_id}/{study_id}"
        oddity = _spoil(draw, digital, k)
        if oddity:
            truth.add_broken("mimic_ecg", key, oddity)
        when = datetime.datetime(2180, 7, 23, 8, 44) + datetime.timedelta(
            minutes=int(draw.integers(2_000_000))
        )
        write_record(
            folder / key,
            digital,
            LEADS,
            RATE_HZ,
            _GAIN,
            record_line=f"{when:%H:%M:%S} {when:%d/%m/%Y}",
            comments=[f"<subject_id>: {subject_id}"],
        )
        table.append([subject_id, study_id, study_id, when.isoformat(" "), key])
    with (folder / "record_list.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["subject_id", "study_id", "file_name", "ecg_time", "path"])
        writer.writerows(table)
    return [str(row[4]) for row in table]


def _spoil(draw: np.random.Generator, digital: np.ndarray, k: int) -> str | None:
    """Now and then a lead or a stretch not measured, or a flat lead; once nothing at all."""
    lead = int(draw.integers(12))
    if k == 3:
        digital[:] = INVALID
        return "every sample missing"
    if k % 25 == 4:
        digital[lead] = INVALID
        return f"lead {LEADS[lead]} missing"
    if k % 25 == 12:
        begin = int(draw.integers(500, 3500))
        digital[:, begin : begin + 400] = INVALID
        return "0.8 s missing in all leads"
    if k % 25 == 5:
        digital[lead] = 0
        return f"lead {LEADS[lead]} flat"
    return None
