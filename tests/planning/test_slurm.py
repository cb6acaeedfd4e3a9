"""Requests that a cluster can never meet are found before they wait for ever."""

import re

import pytest

from cldtrans.planning import slurm
from cldtrans.planning.slurm import Node, Partition, Request, problems

# As scontrol of Slurm 22.05 writes it.
PARTITION = (
    "PartitionName=mi300x AllowGroups=ALL Default=YES QoS=N/A MaxTime=1-00:00:00 MinNodes=0 "
    "LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=n1 State=UP TotalCPUs=16 MaxMemPerNode=UNLIMITED\n"
    "PartitionName=short Default=NO MaxTime=30:00 MaxCPUsPerNode=4 MaxMemPerNode=8000 State=DOWN\n"
)
NODE = (
    "NodeName=n1 Arch=x86_64 CPUAlloc=0 CPUTot=16 Gres=gpu:mi300x:8(S:0-1) RealMemory=200000 AllocMem=0 "
    "State=IDLE ThreadsPerCore=1 Partitions=mi300x,short OS=Linux 6.1 #1 SMP\n"
    "NodeName=n2 CPUTot=64 Gres=(null) RealMemory=64000 State=DOWN*+DRAIN Partitions=mi300x \n"
)


def request(
    rule="score", partition=None, minutes=60, mem_mb=1000, cpus=1, gpus=None, declined=False
) -> Request:
    return Request(rule, partition, minutes, mem_mb, cpus, gpus or {}, declined)


def errors(*requests: Request) -> list[str]:
    return problems(requests, slurm.read_partitions(PARTITION), slurm.read_nodes(NODE))[0]


def test_what_scontrol_says_is_read():
    assert slurm.read_partitions(PARTITION) == [
        Partition("mi300x", True, True, 1440, slurm.UNLIMITED, slurm.UNLIMITED),
        Partition("short", False, False, 30, 4, 8000),
    ]
    assert slurm.read_nodes(NODE) == [
        Node("n1", ("mi300x", "short"), 16, 200000, {"mi300x": 8}, True),
        Node("n2", ("mi300x",), 64, 64000, {}, False),
    ]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("1-00:00:00", 1440), ("2:30:00", 150), ("30:00", 30), ("90", 90), ("UNLIMITED", float("inf"))],
)
def test_slurms_times(text, minutes):
    assert slurm.minutes_of(text) == minutes


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ({"gres": "gpu:mi300x:8"}, {"mi300x": 8}),
        ({"gres": "gpu:1"}, {"": 1}),
        ({"gres": "gpu"}, {"": 1}),
        ({"gres": "''"}, {}),
        ({"gres": "none"}, {}),
        ({"gpu": 2, "gpu_model": "mi300x"}, {"mi300x": 2}),
        ({"gpu": 0}, {}),
    ],
)
def test_gpus_are_read_as_the_executor_reads_them(resources, gpus):
    assert slurm.request_of("rule", 1, resources).gpus == gpus


def test_cores_and_memory_are_read_as_the_executor_reads_them():
    assert slurm.request_of("r", 96, {"mem_mb": 400000, "runtime": 1440}) == Request(
        "r", None, 1440, 400000, 96, {}
    )
    by_gpu = slurm.request_of("r", 1, {"gres": "gpu:mi300x:8", "cpus_per_gpu": 12, "mem_mb_per_cpu": 100})
    assert (by_gpu.cpus, by_gpu.mem_mb) == (96, 9600)


def test_a_group_asks_for_all_of_its_jobs():
    found = slurm.request_of("r", 8, {"mem_mb": 4000, "runtime": 30}, together=8)
    assert (found.cpus, found.mem_mb, found.minutes) == (64, 32000, 30)


def test_what_fits_passes():
    assert problems(
        [request(gpus={"mi300x": 8}, cpus=16)], slurm.read_partitions(PARTITION), slurm.read_nodes(NODE)
    ) == (
        [],
        [],
    )


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (request("get", minutes=2880), r"get: runtime 2880 min, but partition mi300x allows 1440; set"),
        (request("train", cpus=96, mem_mb=150000), r"no node of partition mi300x has 96 CPUs \(n1 has 16\)"),
        (request("train", mem_mb=400000), r"has 400000 MB \(n1 has 200000\)"),
        (request("train", gpus={"mi300x": 9}), r"9 x GPU mi300x \(n1 has 8 x mi300x\)"),
        (request("train", gpus={"a100": 1}), r"1 x GPU a100 \(n1 has 8 x mi300x\)"),
        (request("score", partition="cpu"), r"no partition cpu, there are mi300x, short; set"),
        (request("score", partition="short", cpus=5, minutes=5), r"5 CPUs \(n1 has 4\)"),
        (request("train_stage1"), r"train_stage1: asks for no GPU.*gres=gpu:mi300x:8.*gres=none"),
    ],
)  # fmt: skip
def test_what_would_wait_for_ever_is_told_with_what_to_change(asked, told):
    (error,) = errors(asked)
    assert re.search(told, error), error


def test_stage_1_may_decline_gpus_in_words_and_runs_where_there_are_none():
    assert errors(request("train_stage1", declined=True)) == []
    nodes = [Node("n", ("cpu",), 16, 200000, {}, True)]
    partitions = [Partition("cpu", True, True, 1440, slurm.UNLIMITED, slurm.UNLIMITED)]
    assert problems([request("train_stage1")], partitions, nodes) == ([], [])


def test_one_line_a_rule_however_many_jobs():
    assert len(errors(*[request("download", minutes=2880)] * 5)) == 1


def test_nodes_that_are_down_are_a_warning_since_they_may_come_back():
    nodes = slurm.read_nodes(NODE.replace("State=IDLE", "State=IDLE+DRAIN"))
    found, warnings = problems([request()], slurm.read_partitions(PARTITION), nodes)
    assert found == [] and "down or drained (n1, n2)" in warnings[0]


CONFIG = "MessageTimeout          = 10 sec\nMinJobAge               = {} sec\n"


@pytest.mark.parametrize(
    ("age", "command", "first", "sacct", "told"),
    [
        (300, "squeue", 10, False, None),
        (300, "squeue", 101, False, "set slurm-init-seconds-before-status-checks to 100 or less"),
        (60, "squeue", 10, False, "after 60 s"),
        (60, "squeue", 10, True, None),
        (300, "sacct", 40, False, "set it to squeue"),
        (300, "sacct", 40, True, None),
    ],
)
def test_the_end_of_jobs_must_be_noticed(age, command, first, sacct, told):
    """The executor leaves squeue for sacct where MinJobAge is short, whether or not sacct answers."""
    found = slurm.status_problems(CONFIG.format(age), command, first, sacct)
    assert (told in found[0]) if told else found == []


def test_jobs_of_a_run_are_known_by_their_names(monkeypatch):
    prefix = slurm.job_prefix("/folder:tiny")
    lines = f"7|RUNNING|{prefix}_0f3c\n8|PENDING|{slurm.job_prefix('/folder:paper')}_1\n9|RUNNING|a|b\n"
    asked = []

    def ask(*words: str) -> str:
        asked.append(words)
        return lines if words[0] == "squeue" and len(asked) == 1 else ""

    monkeypatch.setattr(slurm, "_ask", ask)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert slurm.cancel(prefix) == 1
    assert asked[1] == ("scancel", "7")


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(slurm.ClusterError, match="scontrol does not answer"):
        slurm.check_cluster([], "squeue", 10)
