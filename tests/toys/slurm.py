"""A throw-away Slurm on this machine: one pretended node of eight MI300X, in a private folder, on free ports.

Nothing of the system is touched: daemons have their own configuration, key, socket and state, and the clients
that tests and jobs call are small wrappers that name that configuration (a job step's environment loses
`SLURM_CONF`).
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
GPUS, CPUS, MEMORY_MB = 8, 192, 1_500_000

CONF = """\
ClusterName=pretended
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={controller}
SlurmdPort={daemon}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
# A node comes back by itself after it was down, and jobs are scheduled at once: tests wait for both.
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=7200
KillWait=5
SlurmctldTimeout=30
SlurmdTimeout=30
GresTypes=gpu
# The controller believes the line below, not the hardware.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} \
ThreadsPerCore=1 RealMemory={memory_mb} Gres=gpu:mi300x:{gpus} State=UNKNOWN
PartitionName=mi300x Nodes={host} Default=YES MaxTime=24:00:00 DefMemPerCPU=1000 State=UP
"""
GRES = "AutoDetect=off\nNodeName={host} Name=gpu Type=mi300x File={folder}/dev/mi300x[0-{last}]\n"


def why_not() -> str | None:
    """Say why a Slurm cannot be started here, None where it can."""
    missing = [name for name in (*DAEMONS, *CLIENTS) if _find(name) is None]
    if missing:
        packages = "slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
        return f"no {', '.join(missing)}: apt-get install {packages}"
    return None


@dataclass(frozen=True)
class Slurm:
    """A running one."""

    folder: Path
    host: str

    @property
    def path(self) -> str:
        """`PATH` with this Slurm's clients before all others."""
        return os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to talk to it."""
        return {"PATH": self.path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *words: str, check: bool = True) -> str:
        """Run a client; what it printed."""
        command = [str(self.folder / "bin" / words[0]), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def queue(self) -> list[str]:
        """Identities of the jobs that wait or run."""
        return self.call("squeue", "--noheader", "--format=%i").split()

    def jobs(self) -> list[dict[str, str]]:
        """Every job that the controller remembers, as `scontrol` shows it."""
        lines = self.call("scontrol", "show", "job", "--oneliner").splitlines()
        return [dict(re.findall(r"(\S+?)=(.*?)(?= \S+?=|$)", line)) for line in lines if "JobId=" in line]

    def cancel_all(self) -> None:
        """Empty the queue."""
        for job in self.queue():
            self.call("scancel", job, check=False)
        wait_for(lambda: not self.queue(), 30, "an empty queue")

    def node(self, **changes: str) -> None:
        """Change the node, e.g. ``state="drain", reason="a test"``."""
        self.call("scontrol", "update", f"nodename={self.host}", *(f"{k}={v}" for k, v in changes.items()))

    def node_state(self) -> str:
        """State of the node, as `sinfo` calls it."""
        return self.call("sinfo", "--noheader", "--Node", "--format=%t").split()[0]

    def restart_node_daemon(self) -> None:
        """Start slurmd again after `stop_node_daemon`."""
        _start(["slurmd", "-N", self.host, "-f", str(self.folder / "slurm.conf")])

    def stop_node_daemon(self) -> None:
        """Stop slurmd, as if the node were gone; its jobs' processes live on."""
        _stop(self.folder / "slurmd.pid")

    def stop(self) -> None:
        """End all daemons."""
        with suppress(AssertionError, subprocess.TimeoutExpired):
            self.cancel_all()
        for name in ("slurmd", "slurmctld", "munged"):
            _stop(self.folder / f"{name}.pid")


def start(folder: Path) -> Slurm:
    """Bring one up in an empty folder.

    Parameters
    ----------
    folder : Path
        Its path must be short: sockets lie in it.

    Raises
    ------
    AssertionError
        Where a daemon does not come up; the message has the end of the logs.
    """
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool", "dev", "bin"):
        (folder / name).mkdir(parents=True)
    for number in range(
        GPUS
    ):  # slurmd wants devices behind its GPUs: clones of /dev/null, or files for users
        device = folder / "dev" / f"mi300x{number}"
        try:
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            device.touch()
    values = {"host": host, "folder": folder, "user": getpass.getuser(), "cpus": CPUS, "memory_mb": MEMORY_MB}
    controller, daemon = _free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(**values, gpus=GPUS, controller=controller, daemon=daemon))
    (folder / "gres.conf").write_text(GRES.format(**values, last=GPUS - 1))
    for name in CLIENTS:
        wrapper = folder / "bin" / name
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {_find(name)} "$@"\n')
        wrapper.chmod(0o755)
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(1024))
    munge = [f"--{name}={folder / 'munged'}.{name[:-5]}" for name in ("pid-file", "log-file", "seed-file")]
    slurm = Slurm(folder, host)
    try:
        _start(["munged", "--force", f"--key-file={key}", f"--socket={folder / 'munge.socket'}", *munge])
        _start(["slurmctld", "-c", "-f", str(conf)])
        wait_for(lambda: "UP" in slurm.call("scontrol", "ping", check=False), 30, "slurmctld")
        slurm.restart_node_daemon()
        wait_for(lambda: slurm.node_state() in ("idle", "mix"), 30, "slurmd")
    except AssertionError as error:
        logs = "\n".join(path.read_text()[-1500:] for path in sorted(folder.glob("*.log")))
        slurm.stop()
        raise AssertionError(f"{error}\n{logs}") from None
    return slurm


def wait_for(reached: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something holds; AssertionError where it does not in time."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, f"no {what} within {seconds:g} s"
        time.sleep(0.2)


def _find(name: str) -> str | None:
    """Daemons lie where users' paths do not lead."""
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]))


def _start(words: list[str]) -> None:
    """Start a daemon, which detaches itself."""
    program = _find(words[0])
    assert program is not None
    done = subprocess.run(
        [program, *words[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert done.returncode == 0, f"{words[0]}: {done.stderr[-800:]}"


def _stop(pid_file: Path) -> None:
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in range(50):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()
