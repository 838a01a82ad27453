"""Captions longer than a window, read as WebUIs read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ti_trainer import Concept, ModelConfig
from ti_trainer.families import Family, load_family
from ti_trainer.placeholders import Placeholders

TOKEN, OTHER = "<my-cat>", "<dog-2>"
SHORT = f"a photo of {TOKEN} in the snow"
# a word is a token: the rows of the token stand at 74, 75 and 76, across the end of the first window
ACROSS = "red " * 74 + f"{TOKEN} in the snow"
LATE = "the red dog on the beach " * 15 + f"of {TOKEN} and {OTHER}"


def load(model: Path, how: str) -> Family:
    config = ModelConfig(model=str(model), long_captions=how)
    family = load_family(config, torch.device("cpu"), torch.float32)
    family.put_away_vae()
    draws = torch.Generator().manual_seed(0)
    rows = [
        {slot.name: torch.randn(count, slot.width, generator=draws) * slot.table.std() for slot in family.slots}
        for count in (3, 1)
    ]
    family.install(Placeholders([Concept(TOKEN), Concept(OTHER)], rows))
    return family


def ids_of(slot: Any, text: str) -> list[int]:
    text = text.replace(TOKEN, f"{TOKEN} {TOKEN}_1 {TOKEN}_2")
    return slot.tokenizer(text, add_special_tokens=False, truncation=False).input_ids


def by_hand(family: Family, pieces: list[list[list[int]]]) -> tuple[Tensor, Tensor | None]:
    """pieces: for each slot the ids of each window, without start and end -> context (1, W * 77, D), pooled (1, P)."""
    contexts, pooled = [], None
    for slot, windows in zip(family.slots, pieces, strict=True):
        tokenizer = slot.tokenizer
        states = []
        for number, window in enumerate(windows):
            full = [tokenizer.bos_token_id, *window, tokenizer.eos_token_id]
            full += [tokenizer.pad_token_id] * (77 - len(full))
            output = slot.encoder(torch.tensor([full]), output_hidden_states=True)
            sdxl = len(family.slots) == 2
            states.append(output.hidden_states[-2] if sdxl else output.last_hidden_state)
            if number == 0 and sdxl:
                pooled = output.get("text_embeds", pooled)
        contexts.append(torch.cat(states, dim=1))
    return torch.cat(contexts, dim=2), pooled


def assert_same(family: Family, caption: str, pieces: list[list[list[int]]]) -> None:
    found = family.encode_text([caption])
    context, pooled = by_hand(family, pieces)
    torch.testing.assert_close(found.context, context, rtol=1e-5, atol=1e-6)
    assert (found.pooled is None) == (pooled is None)
    if found.pooled is not None:
        torch.testing.assert_close(found.pooled, pooled, rtol=1e-5, atol=1e-6)
    assert found.mask is None


def test_long_captions_are_the_windows_in_a_row(any_model: Path) -> None:
    family = load(any_model, "chunk")
    all_ids = [ids_of(slot, LATE) for slot in family.slots]
    assert 75 < len(all_ids[0]) <= 150
    assert_same(family, LATE, [[ids[:75], ids[75:]] for ids in all_ids])


def test_rows_of_a_token_stay_in_one_window(any_model: Path) -> None:
    family = load(any_model, "chunk")
    all_ids = [ids_of(slot, ACROSS) for slot in family.slots]
    assert_same(family, ACROSS, [[ids[:74], ids[74:]] for ids in all_ids])


def test_short_captions_are_read_as_ever(any_model: Path) -> None:
    chunked, truncated = load(any_model, "chunk"), load(any_model, "truncate")
    for caption in (SHORT, "", "red " * 75):
        one, other = chunked.encode_text([caption]), truncated.encode_text([caption])
        assert torch.equal(one.context, other.context)
        assert one.pooled is None or (other.pooled is not None and torch.equal(one.pooled, other.pooled))
    assert not torch.equal(chunked.encode_text([LATE]).context[:, :77], chunked.encode_text([LATE]).context[:, 77:])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1, 0)])
def test_long_and_short_captions_do_not_see_each_other(any_model: Path, order: tuple[int, ...]) -> None:
    """In one batch the short ones are padded, and what the U-Net predicts is what it predicts for each alone."""
    family = load(any_model, "chunk")
    captions = [[SHORT, LATE, ACROSS * 2][index] for index in order]
    draws = torch.Generator().manual_seed(0)
    noisy, steps = torch.randn(len(order), 4, 8, 8, generator=draws), torch.tensor([10, 500, 900, 3])[: len(order)]
    sizes = torch.tensor([[40, 48, 0, 3, 32, 32]]).repeat(len(order), 1)
    with torch.no_grad():
        together = family.encode_text(captions)
        assert together.context.shape[1] == 77 * 3
        assert together.mask is not None
        found = family.predict(noisy, steps, together, sizes)
        for i, caption in enumerate(captions):
            alone = family.encode_text([caption])
            assert alone.mask is None
            assert alone.context.shape[1] == int(together.mask[i].sum())
            expected = family.predict(noisy[[i]], steps[[i]], alone, sizes[[i]])
            torch.testing.assert_close(found[[i]], expected, rtol=1e-4, atol=1e-5)


def test_rows_in_any_window_get_gradient(any_model: Path) -> None:
    family = load(any_model, "chunk")
    for slot in family.slots:
        rows = slot.encoder.get_input_embeddings()._borrowed[0]
        family.encode_text([LATE]).context.square().sum().backward()
        assert (rows.grad.norm(dim=1) > 1e-6).all()
        rows.grad = None
