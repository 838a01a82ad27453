"""URLs: which paths are some, what opens them, and what is said when that fails."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ti_trainer.errors import BadInput
from ti_trainer.files.remote import explained, is_remote, open_url


@pytest.mark.parametrize(
    "path",
    ["s3://b/x", "gs://b", "file:///tmp/x", "memory://x", "S3A://b", "x+y.z://b", "zip://a::s3://b", "cached::s3://b"],
)
def test_urls(path: str) -> None:
    assert is_remote(path)


@pytest.mark.parametrize(
    "path",
    ["runs", "./runs", "/tmp", "C:\\x", "C:/x", "C://x", "file:x.bin", "owner/name", "", "a/s3://b", "a b://x", "://x"],
)
def test_local_paths(path: str) -> None:
    assert not is_remote(path)


def test_a_protocol_that_nobody_knows() -> None:
    with pytest.raises(BadInput, match='output="s5://bucket/runs": nobody knows s5://; choose s3://'):
        open_url("s5://bucket/runs", "output")


@pytest.mark.parametrize(("url", "library"), [("s3://b/x", "s3fs"), ("gs://b/x", "gcsfs"), ("gcs://b/x", "gcsfs")])
def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch, url: str, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BadInput, match=f'output="{url}": .*pip install {library}$'):
        open_url(url, "output")


def test_a_url_without_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem
    from fsspec.registry import _registry

    class Buckets(MemoryFileSystem):
        protocol = "s3"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path.removeprefix("s3://")

    monkeypatch.setitem(_registry, "s3", Buckets)
    with pytest.raises(BadInput, match='output="s3://" names no bucket; write s3://BUCKET/FOLDER'):
        open_url("s3://", "output")


class NoCredentialsError(Exception):
    """As botocore's, which is no OSError."""


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (PermissionError("Forbidden"), BadInput, r"access is denied \(Forbidden\); check its rights or"),
        (NoCredentialsError("Unable to locate credentials"), BadInput, r"\(Unable to locate credentials\)"),
        (FileNotFoundError("NoSuchBucket"), BadInput, "there is no such bucket or folder"),
        (NotADirectoryError(20, "Not a directory", "runs"), BadInput, r"a file is in the way .*\(Not a directory\)"),
        (NotImplementedError(), BadInput, "does not allow it"),
        (OSError(28, "No space left on device"), OSError, "written: No space left on device; when the cause is gone"),
        (TimeoutError(), OSError, "written: TimeoutError; when"),
        (RuntimeError("Session is closed\nmore"), OSError, "written: Session is closed; when"),
        (BadInput("as it is"), BadInput, "^as it is$"),
    ],
)
def test_explained(error: Exception, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as raised, explained("s3://b/x", "written"):
        raise error
    assert error in (raised.value, raised.value.__cause__)
    assert "s3://b/x cannot be written: " in str(raised.value) or raised.value is error


def test_an_interruption_is_no_failure() -> None:
    with pytest.raises(KeyboardInterrupt), explained("s3://b/x", "written"):
        raise KeyboardInterrupt


def test_fsspec_is_imported_for_urls_only() -> None:
    code = (
        "import json, sys, ti_trainer.runs.storage, ti_trainer.config.concept_lists\n"
        "ti_trainer.runs.storage.Storage('runs').published()\n"
        "before = sorted(sys.modules)\n"
        "ti_trainer.runs.storage.Storage('memory://runs')\n"
        "print(json.dumps([before, sorted(sys.modules)]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = json.loads(result.stdout)
    assert {"fsspec", "torch", "pyarrow"}.isdisjoint(before)
    assert "fsspec" in after
