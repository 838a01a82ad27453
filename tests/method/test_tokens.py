"""Where tokens are found in captions, and the places of their rows."""

import random
import re
import time

import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import TextualInversionLoaderMixin

from tests.tiny_text import WIDTH, tiny_text_encoder, tiny_tokenizer
from ti_trainer.method.tokens import ROW, expand, fill, mentions, without_rows

ROWS = {"<cat>": range(3), "<cat-2>": range(3, 5), "<dog>": range(5, 6), "blorp": range(6, 8)}


class TextOnly(DiffusionPipeline, TextualInversionLoaderMixin):
    """The part of a diffusers pipeline that loads embeddings."""

    def __init__(self, tokenizer, text_encoder) -> None:
        super().__init__()
        self.register_modules(tokenizer=tokenizer, text_encoder=text_encoder)


@pytest.mark.parametrize(("token", "count"), [("<cat>", 1), ("<cat>", 3), ("blorp", 2), ("<my-cat_x>", 12)])
def test_rows_stand_where_diffusers_puts_them(token: str, count: int) -> None:
    """Read by a tokenizer that has a ROW, the caption is diffusers' reading of it, with ROW for each of its rows."""
    tokenizer = tiny_tokenizer()
    known = len(tokenizer)
    pipeline = TextOnly(tokenizer, tiny_text_encoder(tokenizer))
    pipeline.load_textual_inversion({token: torch.ones(count, WIDTH)}, token=token)
    assert len(tokenizer) == known + count
    caption = f"a photo of {token}, red {token}"
    wanted = tokenizer(pipeline.maybe_convert_prompt(caption, tokenizer)).input_ids
    text, numbers = expand(caption, {token: range(count)})
    ours = tiny_tokenizer()
    ours.add_tokens([ROW])
    found, rest = ours(text).input_ids, iter(numbers)
    assert [known + next(rest) if number == known else number for number in found] == wanted
    assert list(rest) == []


@pytest.mark.parametrize(
    ("caption", "expanded", "numbers"),
    [
        ("a <cat>", "a R R R", [0, 1, 2]),
        ("<cat>, <dog> and <cat>.", "R R R, R and R R R.", [0, 1, 2, 5, 0, 1, 2]),
        ("a <cat-2> by <cat>", "a R R by R R R", [3, 4, 0, 1, 2]),
        ('(<cat-2>)\'s "<dog>"', '(R R)\'s "R"', [3, 4, 5]),
        ("a blorp", "a R R", [6, 7]),
        ("<dog>\n<cat-2>", "R\nR R", [5, 3, 4]),
        # a token inside a longer word is not the token
        ("a <cat>_big", "a <cat>_big", []),
        ("a <cat>_1", "a <cat>_1", []),
        ("a <cat>s <cat>-like x<cat>", "a <cat>s <cat>-like x<cat>", []),
        ("two blorps, a blorp_1, a mini-blorp", "two blorps, a blorp_1, a mini-blorp", []),
        ("a <Cat> and a cat", "a <Cat> and a cat", []),
        ("", "", []),
    ],
)
def test_expand(caption: str, expanded: str, numbers: list[int]) -> None:
    """expanded: with R for each ROW."""
    expanded = expanded.replace("R", ROW)
    assert expand(caption, ROWS) == (expanded, numbers)
    assert expand(caption, dict(reversed(ROWS.items()))) == (expanded, numbers)  # whichever concept comes first
    assert any(mentions(caption, token) for token in ROWS) == (caption != expanded)


def test_expand_without_tokens() -> None:
    assert expand("a <cat> and {token}", {}) == ("a <cat> and {token}", [])


def test_a_row_that_somebody_wrote_is_none() -> None:
    """Otherwise the numbers would not be those of the ROWs in the text."""
    assert expand(f"a {ROW} <dog>{ROW}", ROWS) == (f"a  {ROW}", [5])
    assert expand(f"a {ROW}", {}) == ("a ", [])


def test_longer_token_that_starts_with_a_shorter_one() -> None:
    rows = {"blorp": range(2), "blorp-x": range(2, 3), "<blorp>": range(3, 5)}
    assert expand("blorp-x blorp <blorp>", rows) == (" ".join([ROW] * 5), [2, 0, 1, 3, 4])
    assert not mentions("blorp-x", "blorp")


def test_fill() -> None:
    assert fill("{token} by {token}, {other} {}", "<cat>") == "<cat> by <cat>, {other} {}"


def removed_again_and_again(caption: str) -> str:
    while re.search(r"<\|row\|>", caption, re.IGNORECASE):
        caption = re.sub(r"<\|row\|>", "", caption, flags=re.IGNORECASE)
    return caption


def test_rows_that_somebody_wrote_are_removed_in_one_pass() -> None:
    """What is left does not depend on the order, because no end of a row is the beginning of another."""
    draws = random.Random(0)
    pieces = ["<|row|>", "<|ROW|>", "<|r", "ow|>", "<|", "|>", "<", ">", "row", "a", " "]
    for _ in range(2_000):
        caption = "".join(draws.choices(pieces, k=draws.randrange(30)))
        assert without_rows(caption) == removed_again_and_again(caption)
        assert without_rows(without_rows(caption)) == without_rows(caption)


def test_captions_of_halves_of_rows_take_no_longer_than_others() -> None:
    """140 kB took more than a minute."""
    began = time.process_time()
    assert expand("<|r" * 20_000 + "ow|>" * 20_000, {"<cat>": [7]}) == ("", [])
    assert time.process_time() - began < 2
