"""Rows to write, files to write them to, and what is said of a file that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ti_trainer.embedding_files import read_embedding
from ti_trainer.errors import BadInput


def rows(count: int = 2, width: int = 768, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def pickled(content: Any, path: Path, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def refusal(path: Path, token: str | None = None) -> str:
    """What the user is told, which names the file."""
    with pytest.raises(BadInput) as caught:
        read_embedding(path, token)
    assert str(path) in str(caught.value)
    return str(caught.value)
