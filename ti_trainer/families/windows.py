"""From text to the windows of tokens that a text encoder reads: 77 of CLIP, more of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .slots import TextSlot


def first_windows(slot: TextSlot, texts: Sequence[str]) -> Tensor:
    """The first window of each text, as diffusers reads them: (N, T)."""
    if slot.kind.chats:
        texts = [
            slot.tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            for text in texts
        ]
    ids = slot.tokenizer(
        list(texts),
        padding=slot.kind.pads_to,
        max_length=slot.kind.length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids if ids.shape[1] else torch.full((len(ids), 1), slot.tokenizer.pad_token_id)  # of nothing but empty texts


def place_rows(ids: Tensor, row: int, rows: Sequence[int]) -> None:
    """Write the ids of rows over a text's ids (T,) where `row` stands; the window may have cut off the last ones."""
    places = (ids == row).nonzero().flatten()
    ids[places] = torch.tensor(rows[: len(places)], dtype=ids.dtype)


def all_windows(slot: TextSlot, text: str, row: int, rows: Sequence[int], unbroken: Mapping[int, int]) -> Tensor:
    """All windows of a text, as WebUIs read it: (W, T), each with its own start and end.

    rows: the ids that take the places of `row`; unbroken: {first id: how many ids from there must not be separated},
    the rows of a token.
    """
    tokenizer = slot.tokenizer
    size = slot.window
    whole = torch.tensor(tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids)
    place_rows(whole, row, rows)
    ids = whole.tolist()
    windows: list[list[int]] = [[]]
    while ids:
        count = unbroken.get(ids[0], 1)
        if len(windows[-1]) + count > size:
            windows.append([])
        windows[-1] += ids[:count]
        ids = ids[count:]
    start = [tokenizer.bos_token_id] * slot.kind.starts
    end = tokenizer.eos_token_id
    padding = tokenizer.pad_token_id
    return torch.tensor([[*start, *window, end, *[padding] * (size - len(window))] for window in windows])
