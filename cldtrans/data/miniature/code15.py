"""CODE-15 % in miniature: `exams.csv` and two archives of one HDF5 file each, exams of 10 and of 7 s."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np

from cldtrans.data.miniature.ecg import CODES, RATE_HZ, diseased_beat, normal_beat, record, to_leads
from cldtrans.data.miniature.scales import Scale
from cldtrans.data.miniature.truth import Truth, generator

_RATE_HZ, _SAMPLES = 400, 4096
_LENGTHS_S = (10, 10, 7)
_ABNORMAL = {"1AVB": "1dAVb", "CRBBB": "RBBB", "CLBBB": "LBBB"}
_COLUMNS = (  # noqa: SIM905
    "exam_id,age,is_male,nn_predicted_age,1dAVb,RBBB,LBBB,SB,ST,AF,patient_id,death,timey,normal_ecg,trace_file"
).split(",")
_PARTS = 2


def write(folder: Path, scale: Scale, seed: int, truth: Truth) -> list[str]:
    """Write table and archives under `folder` and return no lines: the original has no RECORDS."""
    from scipy.signal import resample_poly

    folder.mkdir(parents=True)
    rows: list[dict[str, object]] = []
    parts: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(_PARTS)]
    for k in range(scale.code15_exams):
        draw = generator(seed, "code15", k)
        again = k % 8 == 7  # the patient before once more
        exam, patient = 1_000_000 + 37 * k, 500_000 + k - again
        statement = str(draw.choice([*_ABNORMAL, "NORM", "NORM", *CODES["STTC"][:1]]))
        beat = diseased_beat(draw, normal_beat(draw), [statement])
        leads = to_leads(record(draw, beat, mains_hz=60.0), 1000.0) / 1000.0
        tracing = np.zeros((_SAMPLES, 12), dtype=np.float32)
        length = _LENGTHS_S[k % len(_LENGTHS_S)] * _RATE_HZ
        begin = (_SAMPLES - length) // 2
        tracing[begin : begin + length] = resample_poly(leads, _RATE_HZ, RATE_HZ, axis=1).T[:length]
        part = k * _PARTS // scale.code15_exams
        parts[part].append((exam, tracing))
        found = {name: name == _ABNORMAL.get(statement) for name in _COLUMNS[4:10]}
        age, male = int(draw.integers(20, 90)), bool(draw.integers(2))
        rows.append(
            {
                **dict.fromkeys(_COLUMNS, ""),
                **found,
                **({} if again else _follow_up(generator(seed, "code15 follow-up", k), age)),
                "exam_id": exam,
                "age": age,
                "is_male": male,
                "patient_id": patient,
                "normal_ecg": statement == "NORM",
                "trace_file": f"exams_part{part}.hdf5",
            }
        )
    with (folder / "exams.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    for number, exams in enumerate(parts):
        _write_archive(folder / f"exams_part{number}.zip", exams)
    return []


def _follow_up(draw: np.random.Generator, age: int) -> dict[str, object]:
    """Whether and after how many years a patient dies, the sooner the older; as for first exams."""
    dies, ends = draw.exponential(np.exp((70 - age) / 15)), draw.uniform(0.5, 7)
    return {"death": bool(dies <= ends), "timey": round(float(min(dies, ends)), 4)}


def _write_archive(path: Path, exams: list[tuple[int, np.ndarray]]) -> None:
    """Write one archive; as in the original a last row of zeros belongs to nobody."""
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["exam_id"] = np.array([*(exam for exam, _ in exams), 0], dtype=np.int64)
        file["tracings"] = np.stack(
            [*(tracing for _, tracing in exams), np.zeros((_SAMPLES, 12), np.float32)]
        )
    member = zipfile.ZipInfo(f"{path.stem}.hdf5")  # of a fixed date: the same bytes each time
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED)
