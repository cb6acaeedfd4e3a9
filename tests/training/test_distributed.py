"""Two gloo processes against one process with the joint batch."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toys.paths import PROJECT
from toys.training import ToyModel, loop_config, train_rank, train_toy

from cldtrans import machine
from cldtrans.errors import ConfigError
from cldtrans.training import distributed

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["cldtrans.training.loop", "torch.distributed.nn"])


def run_ranks(world_size: int, folder: Path, loop, send_term: bool = False) -> list[int | None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    args = [(rank, world_size, port, folder, loop, send_term) for rank in range(world_size)]
    children = [CONTEXT.Process(target=train_rank, args=arg) for arg in args]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=120)
        child.kill()
    return [child.exitcode for child in children]


@pytest.mark.parametrize("micro_batch", [4, 3])
def test_two_processes_equal_one_with_the_joint_batch(tmp_path, micro_batch):
    loop = loop_config(steps=20, micro_batch=micro_batch)
    assert run_ranks(2, tmp_path, loop) == [0, 0]
    torch.manual_seed(0)  # rank 0's start, which is broadcast
    joint = ToyModel().double()
    result = train_toy(joint, loop_config(steps=20))
    ranks = [load_file(tmp_path / f"rank-{rank}.safetensors") for rank in range(2)]
    expected = torch.tensor([row["loss"] for row in result.history], dtype=torch.float64)
    assert len(expected) == 20 and {"loss/eeg", "loss/ecg"} <= {key for row in result.history for key in row}
    torch.testing.assert_close(ranks[0]["losses"], expected, rtol=0, atol=1e-9)
    for name, value in joint.state_dict().items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], value, rtol=0, atol=1e-9)


def test_sigterm_on_one_rank_stops_all_at_the_same_step_and_resumes(tmp_path):
    loop = loop_config(steps=20)
    (tmp_path / "cut").mkdir()
    (tmp_path / "whole").mkdir()
    assert run_ranks(2, tmp_path / "cut", loop, send_term=True) == [75, 75]
    steps = sorted(path.name for path in (tmp_path / "cut/work").glob("step-*"))
    assert steps == ["step-0000000005", "step-0000000008"]
    assert run_ranks(2, tmp_path / "cut", loop) == [0, 0]
    assert run_ranks(2, tmp_path / "whole", loop) == [0, 0]
    for rank in range(2):
        cut, whole = (load_file(tmp_path / name / f"rank-{rank}.safetensors") for name in ("cut", "whole"))
        assert all(torch.equal(cut[name], whole[name]) for name in whole)


def test_single_process_helpers_change_nothing():
    values = torch.arange(3.0)
    machine.all_reduce_sum_(values)
    distributed.broadcast_(values)
    distributed.barrier()
    assert values.tolist() == [0, 1, 2] and distributed.from_main([1.5], torch.device("cpu")) == [1.5]
    assert distributed.is_main() and distributed.world_size() == 1
    with distributed.process_group() as device:
        assert device.type in {"cpu", "cuda"}


def test_batch_that_cannot_be_divided_is_a_config_error(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    with pytest.raises(ConfigError, match=r"batch_size \(8\) must be a multiple .* \(3\)"):
        train_toy(ToyModel(), loop_config())


@pytest.mark.slow
def test_torchrun_starts_the_same_code(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(
        "import os, sys\nfrom pathlib import Path\n"
        "from toys.training import loop_config, train_rank\n"
        "e = os.environ\n"
        "train_rank(int(e['RANK']), int(e['WORLD_SIZE']), int(e['MASTER_PORT']), Path(sys.argv[1]), "
        "loop_config(steps=20), False)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "tests"), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(script), str(tmp_path)], check=True, env=environment, timeout=120)
    ranks = [load_file(tmp_path / f"rank-{rank}.safetensors") for rank in range(2)]
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in ranks[0])
