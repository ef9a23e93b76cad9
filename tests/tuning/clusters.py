"""Clusters on this machine, started for the tests: SLURM with two nodes, Ray with two raylets."""

import grp
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

SLURM_CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
MailProg=/bin/true
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
KillWait=20
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm_cluster() -> Iterator[dict[str, str]]:
    """Run SLURM with two nodes on this machine; gives the variables with which its programs find it."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
    if missing := [name for name in programs if shutil.which(name) is None]:
        pytest.skip(f"SLURM's programs are missing ({', '.join(missing)}): apt-get install slurm-wlm munge")
    pytest.importorskip("submitit", reason="submitit is missing: uv sync --extra slurm")
    if os.getuid() != 0 or "munge" not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("SLURM's daemons are started as root, and munged as the user munge")
    folder = Path("/tmp") / f"slurm-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o755)
    with ExitStack() as daemons:
        daemons.callback(shutil.rmtree, folder, ignore_errors=True)
        start_munge(folder, daemons)
        configuration = folder / "slurm.conf"
        configuration.write_text(SLURM_CONF.format(host=socket.gethostname(), folder=folder, ports=free_ports(3)))
        environment = {"SLURM_CONF": str(configuration)}
        (folder / "state").mkdir()
        for command in (["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]):
            log = daemons.enter_context((folder / f"{'-'.join(command)}.out").open("wb"))
            daemon = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
            daemons.callback(end, daemon)
        wait_for_nodes(environment, folder)
        yield environment


def start_munge(folder: Path, daemons: ExitStack) -> None:
    """Start the daemon with which SLURM's programs prove who they are."""
    place = folder / "munge"
    place.mkdir(mode=0o755)
    key = place / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    for path in (place, key):
        shutil.chown(path, "munge", grp.getgrgid(pwd.getpwnam("munge").pw_gid).gr_name)
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={place / name}" for option, name in files.items()]
    log = daemons.enter_context((folder / "munged.out").open("wb"))
    daemon = subprocess.Popen(
        ["munged", "--foreground", "--force", *options], user="munge", group="munge", stdout=log, stderr=log
    )
    daemons.callback(end, daemon)
    deadline = time.monotonic() + 20
    while not (place / "socket").exists():
        assert daemon.poll() is None, (folder / "munged.out").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for_nodes(environment: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 60
    command = ["sinfo", "--noheader", "--Node", "--format=%N %T"]
    while True:
        listed = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False).stdout
        if sorted(listed.split()) == ["idle", "idle", "n1", "n2"]:
            return
        assert time.monotonic() < deadline, listed + "".join(
            log.read_text(errors="replace")[-3000:] for log in folder.glob("*.log")
        )
        time.sleep(0.3)


def end(daemon: "subprocess.Popen[bytes]") -> None:
    daemon.terminate()
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def free_ports(count: int) -> list[int]:
    with ExitStack() as sockets:
        opened = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in opened:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in opened]


@contextmanager
def ray_cluster() -> Iterator[dict[str, str]]:
    """Run Ray with two raylets on this machine; gives the variables with which it is found."""
    pytest.importorskip("ray", reason="ray is missing: uv sync --extra ray")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        yield {"RAY_ADDRESS": str(cluster.address)}
    finally:
        ray.shutdown()
        cluster.shutdown()
