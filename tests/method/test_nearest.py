"""The nearest words of rows, against all cosines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ti_trainer import ModelConfig
from ti_trainer.families import Family, load_family
from ti_trainer.method.nearest import nearest_words
from ti_trainer.method.tokens import ROW


def test_nearest_words(family: Family) -> None:
    slot = family.slots[0]
    cat, snow = slot.tokenizer("cat snow", add_special_tokens=False).input_ids
    rows = torch.stack([3 * slot.table[cat], slot.table[snow] + 0.1 * slot.table[cat]]).detach()
    found = nearest_words(rows, slot, 4)
    assert [near[0][0] for near in found] == ["cat", "snow"]
    for row, near in zip(rows, found, strict=True):
        cosines = (slot.table @ row / slot.table.norm(dim=1) / row.norm()).detach()
        best = cosines.sort(descending=True)
        names = slot.tokenizer.convert_ids_to_tokens(best.indices[:4].tolist())
        assert [word for word, _ in near] == [name.removesuffix("</w>") for name in names]
        assert [cosine for _, cosine in near] == pytest.approx(best.values[:4].tolist(), abs=1e-6)


def test_entries_that_are_no_words_are_left_out(any_model: Path) -> None:
    """T5's table has more entries than its tokenizer has words, and every tokenizer has got an entry for rows."""
    for slot in load_family(ModelConfig(model=str(any_model)), torch.device("cpu"), torch.float32).slots:
        (near,) = nearest_words(slot.table[:1].detach(), slot, 10**6)
        assert len(near) == slot.tokenizer.vocab_size <= len(slot.table)
        assert ROW not in dict(near)
