"""How large a miniature is: subjects, recordings and seconds of each dataset."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Sizes of one miniature; deliberately broken files come on top of these counts."""

    chbmit_cases: tuple[int, ...]  # 21 is the same child as 1; 2, 12 and 24 carry the real set's oddities
    chbmit_files: int  # recordings with seizures a case
    chbmit_s: int
    chbmit_seizure_s: tuple[int, int]  # shortest and longest seizure
    eegmmidb_subjects: int  # without S088, which is always there at 128 Hz
    eegmmidb_runs: int
    eegmmidb_s: int
    sleep_subjects: int
    sleep_epochs: int  # 30-s epochs a night
    ptbxl_records: int
    mimic_records: int
    challenge_records: int  # of each subset
    code15_exams: int
    hbn_subjects: int  # of each of two releases
    hbn_trials: int
    siena_patients: int
    siena_files: int
    siena_s: int
    siena_seizure_s: tuple[int, int]


SCALES = {
    "tiny": Scale(
        chbmit_cases=(1, 2, 12, 21, 24),
        chbmit_files=1,
        chbmit_s=40,
        chbmit_seizure_s=(12, 16),
        eegmmidb_subjects=3,
        eegmmidb_runs=1,
        eegmmidb_s=20,
        sleep_subjects=4,
        sleep_epochs=20,
        ptbxl_records=20,
        mimic_records=8,
        challenge_records=10,
        code15_exams=12,
        hbn_subjects=4,
        hbn_trials=7,
        siena_patients=3,
        siena_files=1,
        siena_s=24,
        siena_seizure_s=(10, 12),
    ),
    "demo": Scale(
        chbmit_cases=(1, 2, 3, 5, 7, 8, 10, 12, 15, 18, 21, 23, 24),
        chbmit_files=2,
        chbmit_s=120,
        chbmit_seizure_s=(28, 45),
        eegmmidb_subjects=8,
        eegmmidb_runs=2,
        eegmmidb_s=60,
        sleep_subjects=12,
        sleep_epochs=70,
        ptbxl_records=300,
        mimic_records=150,
        challenge_records=60,
        code15_exams=48,
        hbn_subjects=8,
        hbn_trials=10,
        siena_patients=6,
        siena_files=2,
        siena_s=60,
        siena_seizure_s=(18, 26),
    ),
    "standard": Scale(
        chbmit_cases=(1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 14, 15, 18, 21, 22, 23, 24),
        chbmit_files=2,
        chbmit_s=180,
        chbmit_seizure_s=(30, 60),
        eegmmidb_subjects=40,
        eegmmidb_runs=4,
        eegmmidb_s=60,
        sleep_subjects=20,
        sleep_epochs=120,
        ptbxl_records=1000,
        mimic_records=1000,
        challenge_records=150,
        code15_exams=200,
        hbn_subjects=12,
        hbn_trials=14,
        siena_patients=8,
        siena_files=2,
        siena_s=60,
        siena_seizure_s=(18, 26),
    ),
}
