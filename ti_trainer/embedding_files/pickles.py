"""Pickles of torch, read without running code from them.

There are three checks, one after the other: the operations of the pickle are listed without running them, and may
import nothing but ADMITTED; torch.load then reads it with weights_only; and read.py checks the tensors that come out,
as it does for every format.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import BadInput
from .tokens import quoted

MAX_BYTES = 64 * 2**20  # of all members of a zip archive together, unpacked
MAX_PROGRAM = 2**20  # bytes of the pickle in a zip archive; an embedding's has less than a thousand
MAX_OPERATIONS = 50_000  # a LoRA of a thousand tensors has 30,000
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


STAND_INS: dict[str, Callable[..., Any]] = {
    "torch.nn.modules.container.ParameterDict": ParameterDict,
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
    data = path.read_bytes()
    try:
        for name in names_in(data):
            if name not in ADMITTED:
                raise BadInput(
                    f"asks for {quoted(name)}, which no embedding needs: it is no embedding, or a malicious one. "
                    "Nothing of it was run"
                )
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
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{path} is damaged, or no pickle of torch: {reason[:200]}") from None


def names_in(data: bytes) -> Iterator[str]:
    """Everything that the pickles of a file would import, as "module.name".

    Raises BadInput for archives that torch.save does not write, such as small ones that unpack to gigabytes.
    """
    if not data.startswith(b"PK"):
        stream = io.BytesIO(data)
        for _ in range(LEGACY_PARTS):
            yield from names_in_program(stream)
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        programs = [member for member in members if member.filename.endswith("data.pkl")]
        size = sum(member.file_size for member in members)
        if size > MAX_BYTES or any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise BadInput(f"unpacks to {size:,} bytes in a way that torch.save does not write: it may be a bomb")
        if len(programs) != 1 or programs[0].file_size > MAX_PROGRAM:
            raise BadInput("is a zip archive, but none that torch.save wrote for an embedding")
        yield from names_in_program(io.BytesIO(archive.read(programs[0])))


def names_in_program(stream: BinaryIO) -> Iterator[str]:
    """The imports of one pickle; afterwards the stream stands at its end."""
    texts = ["", ""]
    for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
        if count > MAX_OPERATIONS:
            raise BadInput(f"is a pickle of more than {MAX_OPERATIONS:,} operations: no embedding needs them")
        if operation.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL":
            yield ".".join(texts)
        elif operation.name.startswith("EXT"):
            yield operation.name
        elif isinstance(argument, str):
            texts = [texts[-1], argument]


def pickle_bytes(content: Any) -> bytes:
    """A file of torch.save in the layout of before 1.6, because A1111's safety check refuses the newer one."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()
