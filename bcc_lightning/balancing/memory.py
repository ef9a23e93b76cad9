"""How much memory is left for this process."""

import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def available_memory() -> int | None:
    """Tell how many bytes can be taken without swapping: of the machine, or of the container or job where that is less.

    Returns:
        Bytes; None where the system does not tell.
    """
    known = [free for free in (free_on_machine(), free_in_cgroup()) if free is not None]
    return min(known, default=None)


def free_on_machine() -> int | None:
    """Read what Linux holds available, or elsewhere what is installed."""
    if MEMINFO.is_file():
        lines = (line.split() for line in MEMINFO.read_text().splitlines())
        return next((int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:"), None)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def free_in_cgroup() -> int | None:
    """Read what the limit of a container or job leaves (control groups, version 2); file caches can be given up."""
    try:
        own = next(line for line in OWN_CGROUP.read_text().splitlines() if line.startswith("0::"))
        folder = CGROUPS / own.removeprefix("0::").lstrip("/")
        limit, used = ((folder / name).read_text() for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(limit) - int(used) + int(stat["inactive_file"])
    # No such limit, or "max".
    except (OSError, StopIteration, ValueError, KeyError):
        return None
