"""Pickles of torch, read without running code from them.

There are three checks, one after the other: the operations of the pickle are listed without running them, and may
import nothing but ADMITTED; torch.load then reads it with weights_only, and a zip archive only as it is written anew
from the members that were checked; and read.py checks the tensors that come out, as it does for every format.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..errors import BadInput
from ..files.reading import EMBEDDING, read
from ..files.wording import reason
from .tokens import quoted

MAX_MEMBERS = 5_000  # of a zip archive; a LoRA has up to 4,000 tensors, each with a member of its own
MAX_PROGRAM = 2**20  # bytes of the pickle in a zip archive; an embedding's has less than a thousand
# Of all pickles of a file together; an embedding's have some hundred. Some operations take longer the more there were
# before, such as a new key of a mapping whose keys were chosen to collide.
MAX_OPERATIONS = 20_000
# A file of torch before 1.6 is a row of pickles: magic number, version, system, content, storage keys.
LEGACY_PARTS = 5


class ParameterDict:
    """Takes the place of torch's class in files of the first Textual Inversion code; it only keeps the parameters."""

    _parameters: Any = None


class NumpyType:
    """Takes the place of numpy.dtype; it only keeps its code, such as "i8"."""

    def __init__(self, code: object = "", *rest: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        pass


def numpy_scalar(kind: object, data: object = b"") -> int | None:
    """Takes the place of numpy's constructor of scalars: an integer, such as A1111's `step`, or None for others."""
    code = getattr(kind, "code", "")
    if isinstance(code, str) and code[:1] in ("i", "u") and isinstance(data, bytes) and len(data) <= 8:
        return int.from_bytes(data, "little", signed=code[0] == "i")
    return None


def only_latin1(text: str, codec: str = "") -> bytes:
    """Takes the place of _codecs.encode, which pickles call for bytes, always with latin-1: others take long."""
    if codec not in ("latin1", "latin-1"):
        raise BadInput(f"asks for the codec {quoted(codec)}, which no embedding needs")
    return text.encode("latin-1")


# torch admits _codecs.encode itself, so programs are given another name for it, which is as long.
ENCODE = b"c_codecs\nencode\n"
ONLY_LATIN1 = b"c_latin1\nencode\n"

STAND_INS: dict[str, Callable[..., Any]] = {
    "torch.nn.modules.container.ParameterDict": ParameterDict,
    "_latin1.encode": only_latin1,
    "numpy.dtype": NumpyType,
    "numpy.core.multiarray.scalar": numpy_scalar,
    "numpy._core.multiarray.scalar": numpy_scalar,
}
# The names that a pickle may import. Fewer than weights_only admits: a `bytearray` of 2^40 would fill the memory.
ADMITTED = {
    *STAND_INS,
    "collections.OrderedDict",
    "_codecs.encode",
    "__builtin__.set",
    "builtins.set",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.nn.parameter.Parameter",
    "torch.FloatStorage",
    "torch.DoubleStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
}


def read_pickle(path: Path) -> Any:
    """The content of a file of torch.save, in either of its layouts.

    Raises BadInput for a file that would import anything but ADMITTED, and for one that is damaged.
    """
    data = read(path, EMBEDDING, str(path))
    try:
        data = admitted_archive(data) if data.startswith(b"PK") else admitted(data, LEGACY_PARTS)
        stand_ins: list[Any] = [(stand_in, name) for name, stand_in in STAND_INS.items()]
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except BadInput as error:
        raise BadInput(f"{path} {error}") from None
    except pickle.UnpicklingError:  # its text is not shown, because it advises to load the file without this check
        raise BadInput(
            f"{path} is refused by torch's safe reader, as is the oldest layout of Textual Inversion: load it with the "
            "program that wrote it, and save it anew"
        ) from None
    except Exception as error:  # torch and pickletools raise many kinds for damaged pickles
        raise BadInput(f"{path} is damaged, or no pickle of torch: {reason(error)}") from None


def admitted_archive(data: bytes) -> bytes:
    """A zip archive with the same members and an admitted program.

    torch reads what is written here, not the file, because another reader of zip archives may find other members in it.
    Raises BadInput for archives that torch.save does not write, such as small ones that unpack to gigabytes.
    """
    if data.count(b"PK\x01\x02") > MAX_MEMBERS:  # before all of them are read
        raise BadInput(f"is a zip archive of more than {MAX_MEMBERS:,} members: it is no embedding")
    checked = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(checked, "w") as admissible:
        members = {member.filename: member for member in archive.infolist()}
        programs = [name for name in members if name.endswith("data.pkl")]
        size = sum(member.file_size for member in members.values())
        if size > EMBEDDING.most or any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            raise BadInput(f"unpacks to {size:,} bytes in a way that torch.save does not write: it may be a bomb")
        if len(programs) != 1 or members[programs[0]].file_size > MAX_PROGRAM:
            raise BadInput("is a zip archive, but none that torch.save wrote for an embedding")
        for name, member in members.items():
            content = archive.read(member)
            admissible.writestr(name, admitted(content, 1) if name in programs else content)
    return checked.getvalue()


def admitted(data: bytes, programs: int) -> bytes:
    """The same bytes, which begin with so many pickles, with `only_latin1` in the place of _codecs.encode.

    Raises BadInput for pickles that would import anything but ADMITTED, and for too many operations.
    """
    stream = io.BytesIO(data)
    changed = bytearray(data)
    operations = (each for _ in range(programs) for each in pickletools.genops(stream))
    texts = ["", ""]
    for count, (operation, argument, place) in enumerate(operations):
        if count > MAX_OPERATIONS:
            raise BadInput(f"is a pickle of more than {MAX_OPERATIONS:,} operations: no embedding needs them")
        name = ""
        if operation.name in ("GLOBAL", "INST"):
            name = str(argument).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL":
            name = ".".join(texts)
        elif operation.name.startswith("EXT"):
            name = operation.name
        elif isinstance(argument, str):
            texts = [texts[-1], argument]
        if name and name not in ADMITTED:
            raise BadInput(
                f"asks for {quoted(name)}, which no embedding needs: it is no embedding, or a malicious one. "
                "Nothing of it was run"
            )
        if place is not None and data.startswith(ENCODE, place):
            changed[place : place + len(ENCODE)] = ONLY_LATIN1
    return bytes(changed)


def pickle_bytes(content: Any) -> bytes:
    """A file of torch.save in the layout of before 1.6, because A1111's safety check refuses the newer one."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()
