"""Writing files completely or not at all, also if the power fails."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

UNFINISHED = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.part")  # the middle is what mkstemp draws
# what file systems say that cannot force a folder to the disk
NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES})


def write_bytes(payload: bytes, path: Path) -> None:
    """Write a file: a temporary one beside `path` is forced to the disk, renamed, and then the name is forced too."""
    make_folder(path.parent)
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(unfinished, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):  # the folder itself may have gone
            os.unlink(unfinished)
        raise
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, and force the name of each to the disk."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Force to the disk which names are in a folder, where the system can do that."""
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(handle)


def remove_unfinished(folder: Path, name: str | None = None) -> None:
    """Delete the temporary files of dead writers; the caller knows that nobody is writing there.

    name: only those of this file, in the folder itself; None: of every file, in the folders below it too. What cannot
    be deleted stays.
    """
    paths = folder.rglob(".*.part") if name is None else folder.glob(".*.part")
    for path in list(paths):
        found = UNFINISHED.fullmatch(path.name)
        if found and name in (None, found["name"]):
            with suppress(OSError):
                path.unlink()
