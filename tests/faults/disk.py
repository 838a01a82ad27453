"""A disk that dies, tears or refuses at the N-th operation: for a process that is killed, or whose disk is full.

Python tells an audit hook of each operation on files before it is done; the hook counts those that change something
below one folder, and raises what the test wants at one of them. A kill is an exception too, but one after which nothing
below the folder can be changed any more: whatever a `finally` still tries, the disk stays as a kill leaves it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# event -> where among its arguments the folder is, as an open file, against which the path is to be read
EVENTS = {"os.mkdir": 2, "os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.chmod": 2, "os.symlink": None}


class Killed(BaseException):
    """The process is dead."""


class Disk:
    """The operations that change something below `root`, and a fault at one of them."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.operations: list[str] = []
        self.at: int | None = None  # the number of the operation that fails
        self.problem: Callable[[], BaseException] = Killed
        self.stays = True  # all later operations fail too
        self.tears = False  # half of what was being written is on the disk

    def operation(self, name: str, path: str, file: int | None = None) -> None:
        """Called before each operation; file: an open one that is being synced."""
        number = len(self.operations)
        self.operations.append(f"{name} {path}")
        if self.at is None or number < self.at or (number > self.at and not self.stays):
            return
        if self.tears and number == self.at:
            self.tear(name, path, file)
        raise self.problem()

    def tear(self, name: str, path: str, file: int | None) -> None:
        self.at = None  # this is done by the test
        if file is not None and path.endswith(".part"):
            os.ftruncate(file, os.fstat(file).st_size // 2)
        elif name == "open" and path.endswith("metrics.jsonl"):
            with open(path, "ab") as half:
                half.write(b'{"step": 1, "tok')
        self.at = len(self.operations) - 1


active: list[Disk] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not active:
        return
    disk = active[-1]
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, (str, bytes)) and isinstance(flags, int) and flags & CHANGES:
            path = os.path.abspath(os.fsdecode(path))
            if path.startswith(disk.root):
                disk.operation("open", path)
    elif event in EVENTS:
        path = os.fsdecode(arguments[0])
        place = EVENTS[event]
        folder = arguments[place] if place is not None and place < len(arguments) else -1
        base = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) and folder >= 0 else os.getcwd()
        path = os.path.normpath(os.path.join(base, path))
        if path.startswith(disk.root):
            disk.operation(event, path)


sys.addaudithook(watch)  # it cannot be taken away again; without an active disk it does nothing


@contextmanager
def in_use(disk: Disk) -> Iterator[Disk]:
    """Inside the block the operations below the disk's folder are counted, and one may fail."""
    sync = os.fsync

    def counted_sync(file: int) -> None:
        path = os.readlink(f"/proc/self/fd/{file}")
        if path.startswith(disk.root):
            disk.operation("fsync", path, file)
        sync(file)

    os.fsync = counted_sync
    active.append(disk)
    try:
        yield disk
    finally:
        active.pop()
        os.fsync = sync
