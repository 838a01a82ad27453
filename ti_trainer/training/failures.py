"""What kept a concept from being learned, and where a mistake in the program is told with its traceback."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.config import TrainConfig
from ..errors import BadInput, Bug, Diverged, Recorded, code_of
from ..files.atomic import write_bytes
from ..files.wording import told
from ..runs.folder import RunFolder

TRACEBACK = "traceback.txt"  # in the run's folder
FORESEEN = (BadInput, Diverged, Recorded, OSError)


def as_entry(problem: Exception, token: str | None, columns: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What the manifest says of a failure, but for its status."""
    return {"token": token, "code": code_of(problem), "reason": told(problem), "columns": dict(columns), **more}


def reason_of(problem: Exception, config: TrainConfig | None = None) -> Exception:
    """What to tell of a problem of one among many concepts: itself, or a Bug where nobody has foreseen it.

    config: of the concept, if it has come so far; the traceback of a bug is written into the folder of its run.
    """
    if isinstance(problem, FORESEEN):
        return problem
    file = keep_traceback(problem, config) if config else None
    where = f"; where it happened is written in {file}" if file else ""
    return Bug(f"this is a mistake in ti_trainer, please report it ({type(problem).__name__}: {told(problem)}){where}")


def keep_traceback(problem: Exception, config: TrainConfig) -> Path | None:
    """Write a traceback into the run's folder; returns the file, or None where that cannot be done."""
    text = "".join(traceback.format_exception(problem))
    try:
        file = RunFolder(config).path / TRACEBACK
        write_bytes(text.encode("utf-8", "backslashreplace"), file)
    except Exception:  # the folder may be what the problem is about
        return None
    return file


def forget_bug(folder: RunFolder) -> None:
    """Remove what an attempt before this one has left."""
    (folder.path / TRACEBACK).unlink(missing_ok=True)
