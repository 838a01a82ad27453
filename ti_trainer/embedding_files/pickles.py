"""Pickles of torch, read without running anything that they ask for.

Three locks, one behind the other: the program of the pickle is read, not run, and may name nothing that is not in
ADMITTED; torch.load reads it with weights_only; and what comes out is checked like any other tensor (read.py).
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

MAX_BYTES = 64 * 2**20  # of everything in a zip archive together, unpacked
MAX_PROGRAM = 2**20  # an embedding's is shorter than a kilobyte
MAX_OPERATIONS = 50_000  # a LoRA of a thousand tensors has 30,000
LEGACY_PARTS = 5  # pickles in a row in a file of torch before 1.6: magic number, version, system, content, storage keys


class ParameterDict:
    """Stands in for torch's in files of the first Textual Inversion code: keeps the parameters, does nothing."""

    _parameters: Any = None


class NumpyType:
    """Stands in for numpy.dtype: keeps its code ("i8"), does nothing."""

    def __init__(self, code: object = "", *rest: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        pass


def numpy_scalar(kind: object, data: object = b"") -> int | None:
    """Stands in for numpy's constructor of scalars: integers (A1111's `step`) as int, all others as None."""
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
# Less than weights_only admits: `bytearray` of 2^40 is a way to fill the memory too.
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
    *(f"torch.{kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char")),
    *(f"torch.{kind}Storage" for kind in ("Byte", "Bool")),
}


def read_pickle(path: Path) -> Any:
    """The content of a file that torch.save wrote, in either of its layouts; raises BadInput and runs nothing."""
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
    except pickle.UnpicklingError:  # whose text is torch's advice to read it without safety
        raise BadInput(
            f"{path} is refused by torch's safe reader, as is the oldest layout of Textual Inversion: load it with the "
            "program that wrote it, and save it anew"
        ) from None
    except Exception as error:  # a damaged pickle can make torch and pickletools raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{path} is damaged, or no pickle of torch: {reason[:200]}") from None


def names_in(data: bytes) -> Iterator[str]:
    """Everything that the pickles of a file would import, as "module.name"; raises BadInput for bombs."""
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
    """The imports of one pickle; leaves the stream behind its end."""
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
    """A file of torch.save in its layout from before 1.6: the newer one fails A1111's own safety check."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()
