"""Changed files are read or refused in a sentence; `make fuzz` goes on for an hour."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.strangers.mutations import good_files
from tests.strangers.readers import READERS

COUNT = 600


def test_good_files_are_read(tmp_path: Path) -> None:
    """Else their changes would only be refused for what is wrong with all of them."""
    assert good_files().keys() == READERS.keys()
    for reader, files in good_files().items():
        for number, (suffix, data) in enumerate(files):
            path = tmp_path / f"{number}.{suffix}"
            path.write_bytes(data)
            READERS[reader](path)


def test_changed_files(pytestconfig: pytest.Config) -> None:
    """In a process of its own, which a reader may end."""
    command = [sys.executable, "-m", "tests.strangers.mutations", "--count", str(COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=pytestconfig.rootpath)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert f"{COUNT} inputs" in done.stdout
