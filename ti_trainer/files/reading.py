"""Reading files that others wrote: nothing but regular files, and never more of one than its kind needs."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import BadInput
from .wording import printable

MIB = 2**20

# Opening a pipe waits for a writer, and a terminal may become the program's own; Windows has neither flag.
FLAGS = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))

SPECIAL = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


@dataclass(frozen=True)
class Kind:
    """What a file is read as."""

    name: str  # for messages
    most: int  # bytes
    cure: str  # for a file that has more


# 64 KiB hold the longest caption that is taken, in any encoding and with blanks around it.
CAPTION = Kind("a caption", 2**16, "shorten it")
# A line for each template or candidate word: a vocabulary of 100,000 words has one.
LINES = Kind("such a text file", 2 * MIB, "leave lines out")
# 5,000 concepts with ten settings each have one.
YAML = Kind("a YAML file", 2 * MIB, "cut it into several, or write JSON lines")
# 100,000 rows of 300 letters.
LIST = Kind("a list", 32 * MIB, "cut it into several")
# 100 megapixels of four bytes that are not compressed.
PICTURE = Kind("a picture", 400 * MIB, "save it as JPEG")
# The vectors of the largest embedding have 2. Safetensors files are mapped, and not bounded by this.
EMBEDDING = Kind("an embedding", 64 * MIB, "give the embedding and not a model")


def read(path: Path, kind: Kind, name: str = "") -> bytes:
    """The bytes of a regular file; name: what messages call it, by default its path.

    Raises BadInput for what is no regular file, what has more bytes than its kind, and what cannot be read.
    """
    name = name or printable(path)
    with open_regular(path, name) as file:
        size = os.fstat(file.fileno()).st_size
        if size > kind.most:
            raise BadInput(f"{name} has {size:,} bytes, and {kind.name} has at most {kind.most:,}; {kind.cure}")
        try:
            data = file.read(size + 1)
        except OSError as error:
            raise BadInput(f"{name} cannot be read: {error.strerror or error}") from None
    if len(data) > size:  # it grows, or is one of /proc, which have no size
        raise BadInput(f"{name} has more bytes than its system says; copy it and give the copy")
    return data


def open_regular(path: Path, name: str = "") -> BinaryIO:
    """A regular file, open for reading; pipes, devices and sockets are neither waited for nor opened.

    name: what messages call it. Raises BadInput for anything else and for what cannot be opened.
    """
    name = name or printable(path)
    try:
        status = os.stat(path)
        opened = os.open(path, FLAGS) if stat.S_ISREG(status.st_mode) else None
    except OSError as error:
        raise BadInput(f"{name} cannot be read: {error.strerror or error}") from None
    except ValueError:  # NUL, or half of a surrogate pair
        raise BadInput(f"{name} cannot be read: no file has such a name") from None
    if opened is not None:
        status = os.fstat(opened)  # again: what was looked at may have been replaced since
        if stat.S_ISREG(status.st_mode):
            return os.fdopen(opened, "rb")
        os.close(opened)
    what = SPECIAL.get(stat.S_IFMT(status.st_mode), "thing of its system")
    raise BadInput(f"{name} is not a file but a {what}; give a file")
