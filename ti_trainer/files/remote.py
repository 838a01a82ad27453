"""Paths that are URLs, such as s3://bucket/runs: telling them from local paths, opening them, explaining errors.

fsspec is imported when the first URL is opened, so that programs without URLs start faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import BadInput
from .wording import flag, printable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# A protocol has two letters or more, because C:\x is a path on a drive. "zip::s3://" is how fsspec reads archives.
URL = re.compile(r"(?:\w+::)*(?P<protocol>[A-Za-z][\w+.-]+)://")

# The packages that fsspec needs for a protocol.
LIBRARIES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "oss": "ossfs",
    "oci": "ocifs",
    "http": "aiohttp requests",
    "https": "aiohttp requests",
    "sftp": "paramiko",
    "ssh": "paramiko",
}

# Protocols without folders, only names with slashes. Making a folder there could make the bucket of a misspelt URL.
BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"})

# Exceptions of botocore and google.auth, which fsspec passes on; by name, because the libraries may not be installed.
DENIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError", "RefreshError"}
)


def is_remote(path: str) -> bool:
    """Whether a path is a URL: s3://bucket/runs, memory://x and also file:///x, but not runs, C:\\runs or file:x."""
    return URL.match(path) is not None


def open_url(url: str, setting: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem of a URL, and the path of the URL in it; nothing is read yet.

    setting: the one that holds the URL. Raises BadInput, naming both, for an unknown protocol, for one whose library
    is not installed, and for a URL without a bucket.
    """
    shown = flag(setting, url)
    match = URL.match(url)
    protocol = match["protocol"].lower() if match else ""
    try:
        from fsspec.core import url_to_fs

        filesystem, root = url_to_fs(url)
    except ImportError as error:
        library = LIBRARIES.get(protocol)
        cure = f"pip install {library}" if library else error
        raise BadInput(f"{shown}: the library for {protocol}:// is not installed: {cure}") from None
    except Exception as error:  # each filesystem has its own
        if "Protocol not known" in str(error):
            raise BadInput(
                f"{shown}: nobody knows {protocol}://; choose s3://, gs://, az:// or a local folder"
            ) from None
        raise failure(error, shown, "opened") from error
    root = str(root).rstrip("/")
    if protocol in BUCKETS and not root.strip("/"):
        raise BadInput(f"{shown} names no bucket; write {protocol}://BUCKET/FOLDER")
    return filesystem, root


def protocols(filesystem: AbstractFileSystem) -> tuple[str, ...]:
    """The names of a filesystem's protocol, such as ("s3", "s3a")."""
    names = filesystem.protocol
    return (names,) if isinstance(names, str) else tuple(names)


@contextmanager
def explained(place: str, done: str) -> Iterator[None]:
    """Turn what a filesystem raises inside the block into BadInput or OSError that names place, cause and cure.

    place: as the user wrote it; done: what could not be done with it, such as "read" or "written".
    """
    try:
        yield
    except BadInput:
        raise
    except Exception as error:  # botocore's, aiohttp's, google.auth's: each library has its own
        raise failure(error, printable(place), done) from error


def failure(error: Exception, place: str, done: str) -> Exception:
    """The exception to raise in place of a filesystem's, see `explained`."""
    said = getattr(error, "strerror", None) or str(error)
    reason = (said.strip().splitlines() or [type(error).__name__])[0]
    cannot = f"{place} cannot be {done}"
    if isinstance(error, PermissionError) or type(error).__name__ in DENIALS:
        return BadInput(f"{cannot}: access is denied ({reason}); check its rights or, for a bucket, your credentials")
    if isinstance(error, FileNotFoundError):
        return BadInput(f"{cannot}: there is no such bucket or folder ({reason}); create it, or correct the path")
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        return BadInput(f"{cannot}: a file is in the way of a folder, or a folder of a file ({reason}); move it away")
    if isinstance(error, NotImplementedError):
        return BadInput(f"{cannot}: that kind of URL does not allow it; choose a bucket or a folder")
    return OSError(f"{cannot}: {reason}; when the cause is gone, run the same command again")
