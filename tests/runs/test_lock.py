"""One process at a time, on file systems with locks and on those that refuse them."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ti_trainer.runs.lock import RunLock

fcntl = pytest.importorskip("fcntl")


@pytest.fixture(params=[errno.ENOLCK, errno.ENOTSUP])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network file systems say this of every lock."""

    def refuse(file: int, operation: int) -> None:
        if operation != fcntl.LOCK_UN:
            raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_a_lock_of_the_system(tmp_path: Path) -> None:
    one, two = RunLock(tmp_path / ".lock"), RunLock(tmp_path / ".lock")
    assert one.acquire()
    assert one.note is None
    assert not two.acquire()
    assert two.holder == "another process"
    one.release()
    assert two.acquire()
    two.release()


@pytest.mark.usefixtures("no_locks")
def test_a_file_in_the_place_of_a_lock(tmp_path: Path) -> None:
    one, two = RunLock(tmp_path / ".lock"), RunLock(tmp_path / ".lock")
    assert one.acquire()
    assert str(one.note) == f"the file system of {tmp_path} has no locks; .lock-owner there stands for one"
    assert json.loads(one.owner.read_bytes()) == {"host": socket.gethostname(), "process": os.getpid()}
    assert not two.acquire()
    assert str(one.owner) in two.holder
    two.release()
    assert one.owner.exists()
    one.release()
    assert not one.owner.exists()
    assert two.acquire()
    two.release()


@pytest.mark.usefixtures("no_locks")
def test_whose_process_has_died(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    lock = RunLock(tmp_path / ".lock")
    here = socket.gethostname()
    lock.owner.write_text(json.dumps({"host": here, "process": gone.pid}))
    assert lock.acquire()
    lock.release()
    lock.owner.write_text(json.dumps({"host": here, "process": os.getpid()}))
    assert not lock.acquire()
    long_ago = time.time() - 10 * 365 * 86400
    os.utime(lock.owner, (long_ago, long_ago))  # so this process has only got the number of the one that died
    assert lock.acquire()
    lock.release()
    lock.owner.write_text(json.dumps({"host": "elsewhere", "process": gone.pid}))
    os.utime(lock.owner, (long_ago, long_ago))
    assert not lock.acquire()


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}'])
def test_a_file_that_nobody_has_signed(tmp_path: Path, content: str) -> None:
    """Its process was killed between making and signing it, or is about to sign it."""
    lock = RunLock(tmp_path / ".lock")
    lock.owner.write_text(content)
    assert not lock.acquire()
    long_ago = time.time() - 60
    os.utime(lock.owner, (long_ago, long_ago))
    assert lock.acquire()
    lock.release()


def test_other_problems_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        RunLock(tmp_path / ".lock").acquire()
