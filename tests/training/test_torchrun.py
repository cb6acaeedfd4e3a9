"""When a command becomes torchrun, and as what."""

import os
import sys

import pytest
import torch

from cldtrans.training.torchrun import relaunch


@pytest.fixture
def executed(monkeypatch) -> list[list[str]]:
    calls: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: calls.append([program, *arguments]))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(sys, "argv", ["cldtrans", "train-stage1", "--procs", "3"])
    return calls


def test_one_process_and_those_of_torchrun_go_on(executed, monkeypatch):
    relaunch(1)
    monkeypatch.setenv("LOCAL_RANK", "0")
    relaunch(3)
    assert executed == []


@pytest.mark.parametrize(("gpus", "processes"), [(0, 3), (2, 2), (8, 3)])
def test_torchrun_repeats_the_command_once_a_process(executed, monkeypatch, gpus, processes):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    relaunch(3)
    ((program, *arguments),) = executed
    assert program == arguments[0] == sys.executable
    assert arguments[1:3] == ["-m", "torch.distributed.run"] and f"--nproc-per-node={processes}" in arguments
    assert arguments[-5:] == ["-m", "cldtrans", "train-stage1", "--procs", "3"]
