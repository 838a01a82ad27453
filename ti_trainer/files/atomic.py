"""Writing files completely or not at all, also if the power fails."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_bytes(payload: bytes, path: Path) -> None:
    """Write a file: a temporary one beside `path` is forced to the disk, and then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(unfinished, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
