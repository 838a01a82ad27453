"""URLs: which paths are some, what opens them, and what is said when that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ti_trainer.errors import BadInput
from ti_trainer.files import remote
from ti_trainer.files.remote import SCHEMES, explained, is_remote, local_path, open_url


@pytest.mark.parametrize(
    "path",
    ["s3://b/x", "gs://b", "file:///tmp/x", "memory://x", "S3A://b", "x+y.z://b", "zip://a::s3://b", "zip::cats.zip"],
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
    with pytest.raises(BadInput, match='output="s5://bucket/runs": s5:// is not opened; choose s3://'):
        open_url("s5://bucket/runs", "output")


def test_every_other_scheme_is_refused_before_fsspec_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that fsspec knows or has been taught, and each as a way into another file."""
    import fsspec.core
    from fsspec.registry import known_implementations

    monkeypatch.setattr(fsspec.core, "url_to_fs", None)
    others = sorted(set(fsspec.available_protocols()) | set(known_implementations) - set(SCHEMES))
    assert {"reference", "zip", "http", "github", "webhdfs", "simplecache"} <= set(others)
    for scheme in set(others) - set(SCHEMES):
        for url in (f"{scheme}://bucket/x", f"{scheme.upper()}:///etc"):
            assert is_remote(url)
            with pytest.raises(BadInput, match="is not opened; choose s3://"):
                open_url(url, "images")
    for scheme in (*others, *SCHEMES):
        for url in (
            f"{scheme}::file:///etc/hostname",
            f"{scheme}::x",
            f"s3://b/x::{scheme}://b/y",
            f"{scheme}://a::s3://b",
        ):
            assert is_remote(url)
            with pytest.raises(BadInput, match="leads through '::' into another file"):
                open_url(url, "images")


def test_schemes_are_those_that_are_promised() -> None:
    assert set(SCHEMES) == {"local", "file", "s3", "gs", "az", "abfs", "https", "hf", "memory"}  # memory: tests only
    assert "memory" not in Path(remote.__file__).read_text()


@pytest.mark.parametrize(
    ("path", "local"),
    [
        ("file:///a/b", "/a/b"),
        ("local:///a", "/a"),
        ("FILE:///a", "/a"),
        ("a/b", "a/b"),
        ("s3://b/x", None),
        ("zip::file:///a", None),
        ("file://a::b", None),
    ],
)
def test_paths_of_this_machine(path: str, local: str | None) -> None:
    assert local_path(path) == local


@pytest.mark.parametrize(("url", "library"), [("s3://b/x", "s3fs"), ("gs://b/x", "gcsfs"), ("az://b/x", "adlfs")])
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
        "ti_trainer.runs.storage.Storage('file:///runs')\n"
        "print(json.dumps([before, sorted(sys.modules)]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = json.loads(result.stdout)
    assert {"fsspec", "torch", "pyarrow"}.isdisjoint(before)
    assert "fsspec" in after
