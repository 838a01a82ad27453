"""Captions longer than a window, read as WebUIs read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer

from tests.tiny_models import TINY_MODELS
from ti_trainer import ModelConfig
from ti_trainer.families import Family, load_family

TOKEN, OTHER = "<my-cat>", "<dog-2>"
SHORT = f"a photo of {TOKEN} in the snow"
# a word is a token: the rows of the token stand at 74, 75 and 76, across the end of the first window
ACROSS = "red " * 74 + f"{TOKEN} in the snow"
LATE = "the red dog on the beach " * 15 + f"of {TOKEN} and {OTHER}"


@pytest.fixture(params=[kind for kind, row in TINY_MODELS.items() if row.chunks])
def any_model(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> Path:
    """The tiny model of each kind whose denoiser takes captions of several windows."""
    return tiny_models[request.param]


def load(model: Path, how: str) -> Family:
    config = ModelConfig(model=str(model), long_captions=how)
    family = load_family(config, torch.device("cpu"), torch.float32)
    family.put_away_vae()
    draws = torch.Generator().manual_seed(0)
    for token, count in ((TOKEN, 3), (OTHER, 1)):
        rows = {slot.name: torch.randn(count, slot.width, generator=draws) * slot.table.std() for slot in family.slots}
        family.placeholders.add(token, rows)
    return family


def ids_of(model: Path, slot: Any, text: str, tokens: Sequence[str] = (TOKEN, OTHER)) -> list[int]:
    """As a tokenizer reads it to which each row has been added as a word; tokens: those whose rows it knows."""
    tokenizer = AutoTokenizer.from_pretrained(model / f"tokenizer{slot.suffix}")
    size, names = len(tokenizer), {TOKEN: [TOKEN, f"{TOKEN}_1", f"{TOKEN}_2"], OTHER: [OTHER]}
    rows = [*names[TOKEN], *names[OTHER]]
    known = [name for token in tokens for name in names[token]]
    tokenizer.add_tokens(known)
    added = {tokenizer.convert_tokens_to_ids(name): size + rows.index(name) for name in known}
    for token in tokens:
        text = text.replace(token, " ".join(names[token]))
    ids = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
    return [added.get(each, each) for each in ids]


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


def assert_same(family: Family, caption: str, pieces: list[list[list[int]]], key: str | None = None) -> None:
    found = family.encode_text([caption], None if key is None else [key])
    context, pooled = by_hand(family, pieces)
    torch.testing.assert_close(found.context, context, rtol=1e-5, atol=1e-6)
    assert (found.pooled is None) == (pooled is None)
    if found.pooled is not None:
        torch.testing.assert_close(found.pooled, pooled, rtol=1e-5, atol=1e-6)
    assert found.mask is None


def test_long_captions_are_the_windows_in_a_row(any_model: Path) -> None:
    family = load(any_model, "chunk")
    all_ids = [ids_of(any_model, slot, LATE) for slot in family.slots]
    assert 75 < len(all_ids[0]) <= 150
    assert_same(family, LATE, [[ids[:75], ids[75:]] for ids in all_ids])


def test_rows_of_a_token_stay_in_one_window(any_model: Path) -> None:
    family = load(any_model, "chunk")
    all_ids = [ids_of(any_model, slot, ACROSS) for slot in family.slots]
    assert_same(family, ACROSS, [[ids[:74], ids[74:]] for ids in all_ids])


@pytest.mark.parametrize("key", [TOKEN, OTHER])
def test_windows_of_a_caption_with_the_rows_of_its_key(any_model: Path, key: str) -> None:
    """What another's token is to all but its owner may be cut anywhere."""
    family = load(any_model, "chunk")
    for caption, cut in ((LATE, 75), (ACROSS, 74 if key == TOKEN else 75)):
        all_ids = [ids_of(any_model, slot, caption, [key]) for slot in family.slots]
        assert 75 < len(all_ids[0]) <= 150
        assert_same(family, caption, [[ids[:cut], ids[cut:]] for ids in all_ids], key)
    captions, keys = [LATE, SHORT, LATE, ACROSS], [TOKEN, TOKEN, OTHER, OTHER]
    together = family.encode_text(captions, keys)
    for number, (caption, owner) in enumerate(zip(captions, keys, strict=True)):
        alone = family.encode_text([caption], [owner])
        length = alone.context.shape[1]
        torch.testing.assert_close(together.context[number, :length], alone.context[0], rtol=1e-5, atol=1e-6)
        assert together.mask is not None
        assert together.mask[number].tolist() == [True] * length + [False] * (154 - length)


def test_rows_of_concepts_that_came_later_stay_in_one_window(any_model: Path) -> None:
    """When an earlier concept goes, their numbers move up."""
    family = load(any_model, "chunk")
    before = family.encode_text([ACROSS], [TOKEN])
    first = {slot.name: torch.zeros(2, slot.width) for slot in family.slots}
    rows = {slot: values.detach().clone() for slot, values in family.placeholders.present[TOKEN][1].items()}
    for key in (TOKEN, OTHER):
        family.placeholders.remove(key)
    family.placeholders.add("<first>", first)
    family.placeholders.add(TOKEN, rows)
    assert torch.equal(family.encode_text([ACROSS], [TOKEN]).context, before.context)
    family.placeholders.remove("<first>")
    assert torch.equal(family.encode_text([ACROSS], [TOKEN]).context, before.context)


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
    family.encode_text([LATE]).context.square().sum().backward()
    for _, parameters in family.placeholders.present.values():
        assert set(parameters) == {slot.name for slot in family.slots}
        for rows in parameters.values():
            assert rows.grad is not None
            assert (rows.grad.norm(dim=1) > 1e-6).all()
