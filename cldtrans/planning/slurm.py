"""What a Slurm cluster can give, compared with what a run's jobs ask for; and a run's jobs in its queue.

A job that asks for more than its partition has is not refused: it waits for ever. So the requests are
compared with partitions and nodes before the first job is submitted, from what `scontrol` says of them.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cldtrans.errors import CldtransError, listing

NEEDS_GPU = "train_stage1"
"""The rule that is a mistake without GPUs where the partition has some."""
LONGEST_POLL_S = 180
"""The executor asks for the state of its jobs at least so often: they must stay in the queue for longer."""
UNLIMITED = float("inf")


class ClusterError(CldtransError):
    """A cluster that cannot run the plan, or does not answer."""


@dataclass(frozen=True)
class Request:
    """What jobs of a rule ask for at most.

    Attributes
    ----------
    rule : str
        Name of the rule.
    partition : str or None
        None: the cluster's default one.
    minutes, mem_mb, cpus : float
        Of one job; 0 where it does not say.
    gpus : mapping of str to int
        Number by model; "" where any model will do.
    declined : bool
        Whether it says that it wants no GPU (``gres: none``).
    """

    rule: str
    partition: str | None
    minutes: float
    mem_mb: float
    cpus: float
    gpus: Mapping[str, int]
    declined: bool = False


@dataclass(frozen=True)
class Node:
    """What a node has when it is empty."""

    name: str
    partitions: tuple[str, ...]
    cpus: int
    mem_mb: int
    gpus: Mapping[str, int]
    usable: bool


@dataclass(frozen=True)
class Partition:
    """What a partition allows one job."""

    name: str
    default: bool
    up: bool
    minutes: float
    cpus: float
    mem_mb: float


def request_of(rule: str, threads: int, resources: Mapping[str, Any], together: int = 1) -> Request:
    """Read a job's request as the executor will hand it to `sbatch`.

    Parameters
    ----------
    rule : str
        Name of the job's rule.
    threads : int
        Of the job.
    resources : mapping
        Its resources, by Snakemake's names.
    together : int
        Jobs of its group, which ask for cores and memory of all of them.
    """
    gres = str(resources.get("gres") or "").strip("'\"")
    gpus = gpus_of(gres)
    if not gpus and resources.get("gpu"):
        gpus = {str(resources.get("gpu_model") or ""): int(resources["gpu"])}
    number = sum(gpus.values())
    cpus = int(resources.get("cpus_per_gpu") or 0) * number or int(resources.get("cpus_per_task") or threads)
    memory = float(resources.get("mem_mb_per_cpu") or 0) * cpus or float(resources.get("mem_mb") or 0)
    partition = resources.get("slurm_partition")
    return Request(
        rule,
        str(partition) if partition else None,
        float(resources.get("runtime") or 0),
        memory * together,
        cpus * together,
        gpus,
        gres == "none",
    )


def gpus_of(gres: str) -> dict[str, int]:
    """Read a list of generic resources: number of GPUs by model, "" where none is named."""
    found: dict[str, int] = {}
    for model, number in re.findall(r"(?:^|,)(?:gres[:/])?gpu(?::([A-Za-z][\w.-]*))?(?:[:=](\d+))?", gres):
        found[model] = found.get(model, 0) + int(number or 1)
    return found


def read_partitions(text: str) -> list[Partition]:
    """Read `scontrol show partition --oneliner`."""
    found = []
    for fields in _records(text, "PartitionName"):
        found.append(
            Partition(
                fields["PartitionName"],
                fields.get("Default") == "YES",
                fields.get("State", "UP") == "UP",
                minutes_of(fields.get("MaxTime", "UNLIMITED")),
                _limit(fields.get("MaxCPUsPerNode", "UNLIMITED")),
                _limit(fields.get("MaxMemPerNode", "UNLIMITED")),
            )
        )
    return found


def read_nodes(text: str) -> list[Node]:
    """Read `scontrol show node --oneliner`."""
    found = []
    for fields in _records(text, "NodeName"):
        state = fields.get("State", "")
        found.append(
            Node(
                fields["NodeName"],
                tuple(fields.get("Partitions", "").split(",")),
                int(fields.get("CPUTot", 0)),
                int(fields.get("RealMemory", 0)),
                gpus_of(re.sub(r"\(.*?\)", "", fields.get("Gres", ""))),
                not re.search(r"DOWN|DRAIN|FAIL|NOT_RESPONDING", state),
            )
        )
    return found


def minutes_of(text: str) -> float:
    """Read Slurm's [days-]hours:minutes:seconds."""
    if text in ("UNLIMITED", "INFINITE", "NONE"):
        return UNLIMITED
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = ([0] * (3 - len(parts)) + parts) if len(parts) > 1 else (0, parts[0], 0)
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def problems(
    requests: Iterable[Request], partitions: list[Partition], nodes: list[Node]
) -> tuple[list[str], list[str]]:
    """Compare requests with what there is.

    Returns
    -------
    errors : list of str
        Requests that would wait for ever, one line a rule, each with what to change.
    warnings : list of str
        What waits until somebody brings nodes back.
    """
    errors: dict[str, str] = {}
    warnings: dict[str, str] = {}
    by_name = {partition.name: partition for partition in partitions}
    default = next((partition.name for partition in partitions if partition.default), None)
    for request in requests:
        name = request.partition or default
        if name is None or name not in by_name:
            known = listing(sorted(by_name))
            errors[request.rule] = (
                f"{request.rule}: no partition {name or 'by default'}, there are {known}; "
                "set slurm_partition in the profile"
            )
            continue
        partition = by_name[name]
        members = [node for node in nodes if name in node.partitions]
        fitting = [node for node in members if not _lacks(request, partition, node)]
        if request.minutes > partition.minutes:
            errors[request.rule] = (
                f"{request.rule}: runtime {request.minutes:.0f} min, but partition {name} allows "
                f"{partition.minutes:.0f}; set set-resources: {request.rule}: {{runtime: "
                f"{partition.minutes:.0f}}} in the profile (training and downloads go on where they stopped)"
            )
        elif not fitting:
            lacks = min((_lacks(request, partition, node) for node in members), key=len, default=["any node"])
            errors[request.rule] = (
                f"{request.rule}: no node of partition {name} has {' and '.join(lacks)}; "
                f"lower it for {request.rule} in the profile (set-threads, set-resources, "
                "group-components), or choose another partition"
            )
        elif (
            request.rule == NEEDS_GPU
            and not request.gpus
            and not request.declined
            and any(node.gpus for node in members)
        ):
            has = next(node.gpus for node in members if node.gpus)
            model, number = next(iter(has.items()))
            gres = ":".join(filter(None, ("gpu", model, str(number))))
            errors[request.rule] = (
                f"{request.rule}: asks for no GPU, and the nodes of partition {name} have {number}; "
                f"--set-resources on the command line replaces all that the profile sets: repeat it there "
                f"with {request.rule}:gres={gres}, or say gres=none if a CPU is meant"
            )
        elif not partition.up or not any(node.usable for node in fitting):
            warnings[request.rule] = (
                f"{request.rule}: waits: every node of partition {name} that could run it is down or drained "
                f"({listing([node.name for node in fitting], 3)}); `scontrol show node` says why"
            )
    return list(errors.values()), list(warnings.values())


def _lacks(request: Request, partition: Partition, node: Node) -> list[str]:
    """Say what an empty node has too little of."""
    found = []
    cpus, memory = min(node.cpus, partition.cpus), min(node.mem_mb, partition.mem_mb)
    if request.cpus > cpus:
        found.append(f"{request.cpus:.0f} CPUs ({node.name} has {cpus:.0f})")
    if request.mem_mb > memory:
        found.append(f"{request.mem_mb:.0f} MB ({node.name} has {memory:.0f})")
    for model, number in request.gpus.items():
        there = sum(node.gpus.values()) if not model else node.gpus.get(model, 0)
        if number > there:
            has = ", ".join(f"{count} x {name or 'gpu'}" for name, count in node.gpus.items()) or "none"
            found.append(f"{number} x GPU {model or 'of any kind'} ({node.name} has {has})")
    return found


def check_cluster(requests: Iterable[Request], status_command: str, first_poll_s: int) -> list[str]:
    """Compare the requests with the cluster, and see that the executor will learn how its jobs end.

    Parameters
    ----------
    requests : iterable of Request
        Of the jobs to come.
    status_command : str
        The executor's way to ask: "squeue" or "sacct".
    first_poll_s : int
        Seconds until the executor asks for the first time.

    Returns
    -------
    list of str
        Warnings.

    Raises
    ------
    ClusterError
        Where a job would wait for ever, or its end would not be noticed.
    """
    partitions = read_partitions(_ask("scontrol", "show", "partition", "--oneliner"))
    nodes = read_nodes(_ask("scontrol", "show", "node", "--oneliner"))
    errors, warnings = problems(requests, partitions, nodes)
    config = _ask("scontrol", "show", "config")
    errors += status_problems(
        config, status_command, first_poll_s, _answers("sacct", "--noheader", "--jobs=1")
    )
    if errors:
        raise ClusterError(f"the cluster cannot run this plan: {' | '.join(errors)}")
    return warnings


def status_problems(config: str, status_command: str, first_poll_s: int, sacct: bool) -> list[str]:
    """Say why the end of jobs would go unnoticed.

    Parameters
    ----------
    config : str
        Of `scontrol show config`.
    status_command : str
        "squeue" or "sacct".
    first_poll_s : int
        Seconds before the first question; where three times this is above `MinJobAge`, the executor leaves
        squeue for sacct by itself.
    sacct : bool
        Whether sacct answers: without an accounting database it never does.
    """
    if sacct:
        return []
    if status_command == "sacct":
        return ["slurm-status-command is sacct, which does not answer here; set it to squeue in the profile"]
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", config, re.MULTILINE)
    age = int(found[1]) if found else 0
    if age < LONGEST_POLL_S:
        return [
            f"finished jobs leave the queue after {age} s (MinJobAge) and sacct does not answer, so "
            "their end may be missed: ask the administrators for accounting, or for "
            f"MinJobAge={LONGEST_POLL_S} or more"
        ]
    if age < 3 * first_poll_s:
        return [
            f"the executor would ask sacct, which does not answer here (MinJobAge is {age} s): set "
            f"slurm-init-seconds-before-status-checks to {age // 3} or less in the profile"
        ]
    return []


def job_prefix(mark: str) -> str:
    """Return how the names of a run's jobs in the queue begin: the same for every start of that run."""
    return f"cldtrans-{hashlib.sha256(mark.encode()).hexdigest()[:12]}"


def jobs_of(prefix: str) -> dict[str, str]:
    """Return the jobs of a run that wait or run: state by identity; none without Slurm."""
    if shutil.which("squeue") is None:
        return {}
    lines = _ask("squeue", "--me", "--noheader", "--format=%i|%T|%j").splitlines()
    rows = [line.split("|", 2) for line in lines if line.count("|") >= 2]
    return {identity: state for identity, state, name in rows if name.startswith(f"{prefix}_")}


def cancel(prefix: str, patience_s: float = 120.0) -> int:
    """Cancel a dead run's jobs and wait until they are gone: they write into its folders.

    Returns
    -------
    int
        Their number.

    Raises
    ------
    ClusterError
        Where they do not end.
    """
    jobs = jobs_of(prefix)
    if not jobs:
        return 0
    _ask("scancel", *jobs)
    end = time.monotonic() + patience_s
    while left := jobs_of(prefix):
        if time.monotonic() > end:
            raise ClusterError(
                f"Slurm jobs {listing(list(left))} of a run that was killed do not end; "
                "see `squeue --me`, and start again when they are gone"
            )
        time.sleep(1)
    return len(jobs)


def _ask(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(
            f"{words[0]} does not answer ({error}); is this a machine of the cluster, and is Slurm up?"
        ) from None
    if done.returncode:
        told = " ".join(done.stderr.split())[:200]
        raise ClusterError(f"{' '.join(words)} failed ({told}); is Slurm up? `scontrol ping` tells")
    return done.stdout


def _answers(*words: str) -> bool:
    try:
        return subprocess.run(words, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _limit(text: str) -> float:
    return float(text) if text.isdigit() else UNLIMITED


def _records(text: str, key: str) -> list[dict[str, str]]:
    """Split lines of key=value; values with spaces are of no interest here."""
    lines = [line for line in text.splitlines() if line.strip().startswith(f"{key}=")]
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
