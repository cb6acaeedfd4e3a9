"""The doctor finds what is wrong, says what to do, and exits with 2."""

from __future__ import annotations

import shutil
import subprocess
from collections import namedtuple

import numpy as np
import pytest
import torch
from toys.paths import PROJECT

from cldtrans import doctor
from cldtrans.cli import main
from cldtrans.config import load_any

PAPER = load_any([PROJECT / "config/config.yaml"])
CPU = torch.device("cpu")
Usage = namedtuple("Usage", "total used free")


def by_name(checks) -> dict[str, doctor.Check]:
    return {check.name.strip(): check for check in checks}


def test_this_machine_passes(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for name in (
        "python",
        "packages",
        "torch",
        "gpu",
        "fft",
        "adjoint rk4",
        "adjoint dopri5",
        "fft gradient",
        "bf16",
        "ranks",
    ):
        assert any(line[6:].startswith(name) for line in printed.splitlines()), name
    assert "FAIL" not in printed


def test_a_wrong_fft_is_found(monkeypatch):
    right = torch.fft.rfft

    def wrong(x):  # as a device whose transform of prime lengths is broken
        return right(x) * (1.001 if x.shape[-1] == 5129 else 1.0)

    monkeypatch.setattr(torch.fft, "rfft", wrong)
    (check,) = doctor.fft_checks(CPU)
    assert check.status == "FAIL" and "length 5129" in check.found and check.advice


def test_an_fft_that_gives_nan_is_found(monkeypatch):
    monkeypatch.setattr(torch.fft, "irfft", lambda x, n: torch.full((4, n), np.nan))
    (check,) = doctor.fft_checks(CPU)
    assert check.status == "FAIL"


def test_a_wrong_adjoint_is_found(monkeypatch):
    import torchdiffeq

    right = torchdiffeq.odeint_adjoint
    monkeypatch.setattr(torchdiffeq, "odeint_adjoint", lambda *a, **k: right(*a, **k) * 1.01)
    statuses = {check.name: check.status for check in doctor.adjoint_checks(CPU)}
    assert statuses == {"adjoint rk4": "FAIL", "adjoint dopri5": "FAIL"}


def test_a_wrong_gradient_through_the_fft_is_found(monkeypatch):
    right = torch.Tensor.backward

    def wrong(self):  # as a device whose inverse transform is broken
        return right(self * (1.01 if self.dtype == torch.float32 else 1.0))

    monkeypatch.setattr(torch.Tensor, "backward", wrong)
    (check,) = doctor.gradient_checks(CPU)
    assert check.status == "FAIL" and "fft: cpu" in check.advice


def test_bfloat16_that_rounds_wrongly_is_found(monkeypatch):
    right = torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor, "__matmul__", lambda a, b: right(a, b) * (1.05 if a.dtype == torch.float32 else 1.0)
    )
    (check,) = doctor.bf16_checks(CPU)
    assert check.status == "FAIL" and "float32" in check.advice


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("import json; print(json.dumps({'ranks': 2, 'right': False, 'gb_s': 1.0}))", "a wrong mean over 2"),
        ("raise RuntimeError('NCCL error: unhandled system error')", "unhandled system error"),
        ("import time; time.sleep(60)", "did not end in 1 s"),
    ],
)
def test_ranks_that_do_not_add_up_are_found(monkeypatch, script, found):
    run = subprocess.run
    monkeypatch.setattr(doctor, "RANKS_S", 1 if "sleep" in script else 60)
    monkeypatch.setattr(
        doctor.subprocess, "run", lambda command, **options: run([command[0], "-c", script], **options)
    )
    (check,) = doctor.rank_checks(CPU)
    assert check.status == "FAIL" and found in check.found and "procs: 1" in check.advice


def test_the_scratch_disk_is_timed_and_left_as_it_was(tmp_path, monkeypatch):
    (check,) = doctor.scratch_checks(tmp_path / "not/there/yet")
    assert check.status in ("OK", "WARN") and "MB/s written" in check.found and "GB free" in check.found
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(doctor, "SLOW_MB_S", 1e9)
    (check,) = doctor.scratch_checks(tmp_path)
    assert check.status == "WARN" and "local disk" in check.advice


def test_a_gpu_that_torch_cannot_see_is_found(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == "rocm-smi" else None)
    check = by_name(doctor.torch_checks([]))["gpu"]
    assert check.status == "FAIL" and "rocm-smi is here" in check.found


def test_too_little_room_is_found(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = PAPER.model_copy(update={"raw": str(tmp_path / "raw")})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, int(150e9)))
    checks = by_name(doctor.disk_checks(config, "s3://bucket"))
    assert checks["disk raw"].status == "FAIL" and "179.6 GB to come" in checks["disk raw"].found
    assert checks["disk shards"].status == "WARN" and checks["disk results"].status == "OK"
    mirrored = by_name(doctor.disk_checks(config, str(tmp_path)))
    assert mirrored["disk raw"].status == "OK"  # files are linked


def test_source_lists_every_dataset(tmp_path):
    for key in ("ptb-xl/1.0.3", "chbmit/1.0.0"):
        (tmp_path / key).mkdir(parents=True)
        (tmp_path / key / "SHA256SUMS.txt").write_text("")
    strict = by_name(doctor.source_checks(PAPER, str(tmp_path)))
    assert strict["ptbxl"].status == strict["chbmit"].status == "OK"
    assert strict["siena"].status == "FAIL" and "allow_absent" in strict["siena"].advice
    relaxed = PAPER.model_copy(update={"source": PAPER.source.model_copy(update={"allow_absent": True})})
    assert by_name(doctor.source_checks(relaxed, str(tmp_path)))["siena"].status == "WARN"
    (missing,) = doctor.source_checks(PAPER, str(tmp_path / "nowhere"))
    assert missing.status == "FAIL" and "expected a folder" in missing.found


def test_a_dead_service_is_one_line():
    checks = list(doctor.source_checks(PAPER, "http://127.0.0.1:9/bucket"))
    assert [check.status for check in checks] == ["OK", "FAIL"]


def test_a_broken_check_does_not_end_the_report():
    def broken():
        yield doctor.Check("first", "OK", "")
        raise RuntimeError("HIP error: invalid device function\nsecond line")

    checks = doctor._guarded("gpu", broken)
    assert [check.status for check in checks] == ["OK", "FAIL"] and "invalid device function" in checks[
        1
    ].found


def test_failure_exits_with_2(tmp_path, capsys):
    overlay = tmp_path / "small.yaml"
    block = "{target: fewshot, experiment: fewshot, datasets: [ptbxl], methods: [cldtrans], budgets: ['1.0']"
    names = "datasets: [ptbxl]\nstage1: {datasets: [ptbxl]}\nstage2: {datasets: [ptbxl]}\n"
    overlay.write_text(f"{names}experiments: [{block}, seeds: [1]}}]\n")
    assert main(["doctor", "--config", str(overlay), "--source", str(tmp_path / "absent")]) == 2
    captured = capsys.readouterr()
    assert "not fit to run: source" in captured.err and "FAIL  source" in captured.out


@pytest.mark.data
def test_real_mirror():
    mirror = PROJECT.parent / "shared/physionet"
    if not mirror.is_dir():
        pytest.skip("the real recordings are not beside the checkout")
    checks = by_name(doctor.source_checks(PAPER, str(mirror)))
    assert checks["eegmmidb"].status == "OK"
