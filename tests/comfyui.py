"""ComfyUI's rules of embeddings, stated once more: which tensor an encoder takes, and where its rows stand.

After sd1_clip.py of 2026: load_embed, SDTokenizer.tokenize_with_weights and its _try_get_embedding.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

IDENTIFIER = "embedding:"


def rows_for(file: Path, key: str, width: int) -> Tensor | None:
    """The rows that an encoder takes from a file: its own key's, or else the first tensor's, if they are as wide."""
    tensors = load_file(file)
    rows = tensors.get(key, next(iter(tensors.values())))
    return rows if rows.shape[-1] == width else None


def ids_of(tokenizer: Any, prompt: str, name: str, rows: list[int]) -> list[int]:
    """The ids of a prompt with `embedding:NAME` in it, and `rows` for the embedding's vectors.

    The prompt is split in front of the identifier where white space is before it, and the name is taken off what
    follows. tokenizer: one that knows nothing of the embedding.
    """
    ids: list[int] = []
    first, *others = re.split(rf"(?<=\s){IDENTIFIER}", prompt)
    for word in filter(None, [first, *(IDENTIFIER + each for each in others)]):
        if word.startswith(IDENTIFIER):
            called, *rest = word.removeprefix(IDENTIFIER).strip("\n").split()
            left = " ".join(rest)
            if found := re.search(r"[<\[]", called):
                left = called[found.start() :] + (f" {left}" if left else "")
                called = called[: found.start()]
            if called != name and called.strip(",") == name:
                left = f"{called.removeprefix(name)} {left}"
            assert called.strip(",") == name
            ids += rows
            word = left
            if not left:
                continue
        ids += tokenizer(word, add_special_tokens=False, verbose=False).input_ids
    return ids
