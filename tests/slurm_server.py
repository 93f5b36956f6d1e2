"""A real SLURM of the tests' own: one node, this machine, with its own munge."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from servers import Server

PATIENCE = 60.0  # seconds for the node to be idle
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scontrol")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobRequeue=1
KillWait=10
MinJobAge=30
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
"""


class SlurmServer(Server):
    """munged, slurmctld and slurmd in a temporary folder; `environment` leads clients to them."""

    def __init__(self, cpus: int = 2) -> None:
        missing = [name for name in PROGRAMS if not _find(name)]
        if missing:
            pytest.skip(f"SLURM is not installed (no {', '.join(missing)})")
        if os.geteuid() != 0:
            pytest.skip("SLURM's daemons are started as root")
        # Short: a socket's path has at most 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._cpus = cpus
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        with ExitStack() as stack:
            ports = [stack.enter_context(closing(socket.socket())) for _ in range(2)]
            for port in ports:
                port.bind(("127.0.0.1", 0))
            controller, daemon = (port.getsockname()[1] for port in ports)
        text = CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            folder=self.folder,
            controller=controller,
            daemon=daemon,
            cpus=self._cpus,
        )
        (self.folder / "slurm.conf").write_text(text, encoding="utf-8")
        munge = [f"--key-file={key}", f"--socket={self.folder / 'munge.socket'}"]
        munge += [f"--pid-file={self.folder / 'munged.pid'}", f"--seed-file={self.folder / 'seed'}"]
        munge += [f"--log-file={self.folder / 'munged.log'}", "--foreground", "--force"]
        self._daemon("munged", *munge)
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D")
        self.wait_for(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"))

    def _daemon(self, program: str, *options: str) -> None:
        with (self.folder / f"{program}.out").open("ab") as out:
            self._daemons.append(
                subprocess.Popen(
                    [_find(program), *options],
                    stdout=out,
                    stderr=out,
                    env=os.environ | self.environment,
                    start_new_session=True,
                )
            )

    def wait_for(self, there: object, patience: float = PATIENCE) -> None:
        until = time.monotonic() + patience
        while not there():  # type: ignore[operator]
            assert time.monotonic() < until, self.logs()
            time.sleep(0.3)

    def ask(self, *command: str) -> str:
        """What one of SLURM's commands prints, errors included."""
        done = subprocess.run(
            command,
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout

    def logs(self, names: Sequence[str] = ("slurmctld", "slurmd", "munged")) -> str:
        parts = []
        for path in sorted(p for name in names for p in self.folder.glob(f"{name}.*")):
            if path.suffix in (".log", ".out"):
                parts.append(f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}")
        return "\n".join(parts)

    def remove(self) -> None:
        self.ask("scancel", "--signal=KILL", "--full", "--user=root")
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _find(program: str) -> str:
    """A program's path; Debian keeps daemons out of an ordinary user's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""
