"""Who may write into a run's folder: one process at a time."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from ..files.wording import printable

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
SECONDS_TO_SIGN = 10  # within which a living process has written its name into the file that it has made


class RunLock:
    """A lock of the operating system on a file, which goes with its process.

    Some network file systems refuse such locks. There it is a file that is made by one process only, and holds the name
    of the host and the number of the process; one of a dead process of this host does not count.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.owner = file.with_name(f"{file.name}-owner")
        self.owns = False  # the second kind
        self._lock = FileLock(file, timeout=0)

    def acquire(self) -> bool:
        """Keep others out until `release`; False when somebody is in already. Raises OSError."""
        try:
            self._lock.acquire()
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise
            self.owns = self.sign()
            return self.owns
        return True

    def release(self) -> None:
        if self.owns:
            self.owner.unlink(missing_ok=True)
            self.owns = False
        self._lock.release()

    def sign(self) -> bool:
        """Make the file of the second kind; False where somebody has."""
        if self.owner.exists() and is_dead(self.owner):
            self.owner.unlink(missing_ok=True)
        try:
            with self.owner.open("x", encoding="utf-8") as file:
                json.dump({"host": socket.gethostname(), "process": os.getpid()}, file)
        except FileExistsError:
            return False
        return True

    @property
    def note(self) -> str | None:
        """What is to be told of a lock that was acquired."""
        if not self.owns:
            return None
        return f"the file system of {printable(self.file.parent)} has no locks; {self.owner.name} there stands for one"

    @property
    def holder(self) -> str:
        """Who is in, where `acquire` said that somebody is."""
        if not self.owner.exists():
            return "another process"
        return f"another process (if it has died: delete {printable(self.owner)})"


def is_dead(owner: Path) -> bool:
    """Whether the process that made a file of the second kind is known to have ended."""
    try:
        made = owner.stat().st_mtime
        signed = json.loads(owner.read_bytes())
        host, process = signed["host"], int(signed["process"])
    except OSError:
        return False
    except (ValueError, TypeError, KeyError):
        return time.time() - made > SECONDS_TO_SIGN
    # a process that began after the file was made has only got the number of the one that made it
    if host != socket.gethostname():
        return False
    try:
        return psutil.Process(process).create_time() > made + 1
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
