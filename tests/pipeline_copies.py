"""Copies of a pipeline in a tenth of the time that reading it takes: pickles whose tensors stay outside."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Copies:
    """What was read once, and gives as many independent copies as are wanted."""

    def __init__(self, thing: Any) -> None:
        self.tensors: list[torch.Tensor] = []
        numbers: dict[int, int] = {}

        class Writer(pickle.Pickler):
            def persistent_id(writer, part: Any) -> int | None:
                if not isinstance(part, torch.Tensor):
                    return None
                if id(part) not in numbers:
                    numbers[id(part)] = len(self.tensors)
                    self.tensors.append(part)
                return numbers[id(part)]

        file = io.BytesIO()
        Writer(file, protocol=5).dump(thing)
        self.written = file.getvalue()

    def __call__(self) -> Any:
        made: dict[int, torch.Tensor] = {}

        class Reader(pickle.Unpickler):
            def persistent_load(reader, number: int) -> torch.Tensor:
                if number not in made:
                    tensor = self.tensors[number]
                    copy = tensor.detach().clone()
                    is_parameter = isinstance(tensor, torch.nn.Parameter)
                    made[number] = torch.nn.Parameter(copy, tensor.requires_grad) if is_parameter else copy
                return made[number]

        return Reader(io.BytesIO(self.written)).load()


def reading_once(read: Callable[..., Any]) -> Callable[..., Any]:
    """A `from_pretrained` that gives copies of what it has read of a folder, as long as no file there changes."""
    known: dict[Any, Copies] = {}

    def from_pretrained(cls: type, source: Any, **how: Any) -> Any:
        paths = sorted(Path(source).rglob("*"))
        files = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
        key = (cls, str(source), str(sorted(how.items())), files)
        if not files:
            return read(cls, source, **how)
        if key not in known:
            known[key] = Copies(read(cls, source, **how))
        return known[key]()

    return from_pretrained
