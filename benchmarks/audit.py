"""Time and memory of the audit at the paper's scale: 800 000 ten-second ECGs, an index without signals.

python benchmarks/audit.py [number of records]
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from cldtrans.config import resolve
from cldtrans.data.mimic_ecg import MimicEcg
from cldtrans.data.splits import write_split
from cldtrans.evaluation.audit.audit import audit_run
from cldtrans.files import project_folder

PER_PATIENT = 5


def write_corpus(folder: Path, n: int) -> None:
    """Write what an audit reads of `n` records: the list of files, the index of shards, and a division."""
    k = np.arange(n)
    patient, study = 10_000_000 + k // PER_PATIENT, 40_000_000 + k
    path = [f"files/p{p // 10_000}/p{p}/s{s}/{s}" for p, s in zip(patient, study, strict=True)]
    table = pd.DataFrame({"subject_id": patient, "study_id": study, "file_name": study, "path": path})
    raw = folder / "raw" / MimicEcg.slug / MimicEcg.version
    raw.mkdir(parents=True)
    table.assign(ecg_time="2180-07-23 08:44:00").to_csv(raw / "record_list.csv", index=False)
    found = MimicEcg().recordings(folder / "raw")
    index = pd.DataFrame(
        {
            "shard": np.zeros(n, "int32"),
            "row": np.arange(n, dtype="int32"),
            "subject": found["subject"],
            "recording": found["recording"],
            "start_s": 0.0,
            "kind": "grid",
            "event": np.full(n, -1, "int16"),
            "fold": np.zeros(n, "int16"),
            "channel_mask": np.full(n, 2**12 - 1, "uint64"),
            **{name: np.zeros(n, "uint8") for name in ("flat", "clipped", "nan", "missing")},
        }
    )
    shards = folder / "shards" / "mimic_ecg"
    shards.mkdir(parents=True)
    index.to_parquet(shards / "index.parquet")
    meta = {"dataset": "mimic_ecg", "modality": "ecg", "channels": list(MimicEcg.channels), "rate_hz": 500.0}
    meta |= {
        "window_s": 10.0,
        "stride_s": 10.0,
        "n_samples": 5000,
        "task": None,
        "status": "ok",
        "reason": None,
    }
    (shards / "meta.json").write_text(json.dumps(meta | {"fingerprint": "0" * 64}))
    names = np.unique(index["subject"])
    parts = np.where(np.arange(len(names)) % 20 == 0, "test", "train")
    parts[np.arange(len(names)) % 20 == 1] = "val"
    (folder / "splits" / "mimic_ecg").mkdir(parents=True)
    write_split(folder / "splits/mimic_ecg/seed-42.csv", pd.DataFrame({"subject": names, "split": parts}))


def main() -> None:
    """Print seconds, memory and findings."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 800_000
    config = project_folder() / "config"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder, n)
        settings = resolve([*sorted((config / "datasets").glob("*.yaml")), config / "config.yaml"])
        settings = settings.model_copy(update={"datasets": ["mimic_ecg"], "raw": str(folder / "raw")})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall, cpu = time.perf_counter(), time.process_time()
        report = audit_run(
            settings, shards=folder / "shards", splits=folder / "splits", features=folder, results=[]
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{n:,} records: {wall:.1f} s, {cpu:.1f} s of one core; peak {peak / 2**20:.2f} GiB")
    print(f"({before / 2**20:.2f} GiB before, which made the corpus)")
    for one in report["findings"]:
        print(f"{one['status']:12}{one['check']}: {one['of']}: {one['found']}")


if __name__ == "__main__":
    main()
