"""The memory of this machine: what is free, and what this process has taken."""

from __future__ import annotations

import ctypes
import sys
from bisect import bisect
from collections.abc import Iterable
from pathlib import Path

import psutil
import torch
from torch import Tensor

# where Linux tells a container's limit, what is used of it, and how much of that are pages of files; cgroups v2 and v1
CGROUPS = Path("/sys/fs/cgroup")
CGROUP_FILES = (
    ("", "memory.max", "memory.current", ""),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
)


def resident(tensors: Iterable[Tensor]) -> int:
    """The bytes of tensors that are in memory already: pages of a weights file come when they are first touched."""
    files = mapped_files()
    total = 0
    touched = {}
    for tensor in tensors:
        place = bisect(files, (tensor.data_ptr(), float("inf"))) - 1
        if place >= 0 and tensor.data_ptr() < files[place][1]:
            touched[place] = files[place][2]
        else:
            total += tensor.nbytes
    return total + sum(touched.values())


def mapped_files() -> list[tuple[int, int, int]]:
    """Start, end and resident bytes of every file that is mapped into memory, in order; none where no one tells."""
    maps = getattr(psutil.Process(), "memory_maps", None)  # macOS has none
    found = []
    for each in maps(grouped=False) if maps else ():
        if Path(each.path).is_absolute():  # not "[heap]" or "[anon]"
            start, end = (int(address, 16) for address in each.addr.split("-"))
            found.append((start, end, each.rss))
    return sorted(found)


def free_bytes(device: torch.device) -> int:
    """Memory that is free, and what this process holds of it already."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    held = psutil.Process().memory_info()
    # pages of files, which several processes share, count as free already
    return available_bytes() + held.rss - getattr(held, "shared", 0)


def available_bytes(cgroups: Path = CGROUPS) -> int:
    """Memory that is free on this machine or, where that is less, in the container; pages of files count as free."""
    free = psutil.virtual_memory().available
    for folder, limit, used, prefix in CGROUP_FILES:
        try:
            own = cgroups / folder
            stat = dict(line.split() for line in (own / "memory.stat").read_text().splitlines())
            files = sum(int(stat[f"{prefix}{kind}_file"]) for kind in ("active", "inactive"))
            left = int((own / limit).read_text()) - int((own / used).read_text()) + files
        except (OSError, ValueError, KeyError):  # no such cgroup, or one without a limit ("max")
            continue
        free = min(free, max(0, left))
    return free


def peak_bytes(device: torch.device) -> int:
    """The most memory that this process has held so far; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def give_back() -> None:
    """Let the system have what was freed: glibc keeps it, and what comes next may not fit into its gaps."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim:
            trim(0)
