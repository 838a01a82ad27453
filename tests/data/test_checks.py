"""What training and `ti-trainer dataset` say of captions and pictures, against the tokenizer itself."""

from typing import Any

import pytest
import torch

from tests.tiny_text import tiny_tokenizer
from ti_trainer.config.concept import Concept
from ti_trainer.data.checks import (
    CaptionReading,
    SmallPicture,
    missed_subject,
    read_captions,
    resolution_problem,
    small_pictures,
    token_problem,
)
from ti_trainer.data.examples import Example
from ti_trainer.data.geometry import Framing
from ti_trainer.data.images import Picture
from ti_trainer.method.tokens import ROW


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """One that knows ROW, as those of families do."""
    found = tiny_tokenizer()
    found.add_tokens([ROW])
    return found


def example(*captions: str, name: str = "a.png", size: tuple[int, int] = (64, 64)) -> Example:
    return Example(Picture(name, lambda: b""), captions, size)


def read(tokenizer: Any, caption: str, rows: int = 2, long_captions: str = "truncate", **fields: Any) -> CaptionReading:
    concept = Concept("<cat>", **fields)
    return read_captions(concept, [example(caption)], tokenizer, 75, rows, long_captions)[caption]


@pytest.mark.parametrize("rows", [1, 3])
def test_what_the_window_holds(tokenizer: Any, rows: int) -> None:
    """The rows are read as long as a text that the tokenizer truncates still has as many tokens of diffusers' names."""
    names = ["<cat>", "<cat>_1", "<cat>_2"][:rows]
    reference = tiny_tokenizer()
    reference.add_tokens(names)
    wanted = set(reference.convert_tokens_to_ids(names))
    for words in range(70, 80):
        whole = reference(" ".join(["red"] * words + names)).input_ids
        truncated = reference(" ".join(["red"] * words + names), truncation=True, max_length=77).input_ids
        found = read(tokenizer, "red " * words + "{token}", rows)
        assert (found.tokens, found.window) == (len(whole) - 2, 75)
        assert found.has_rows == (wanted <= set(truncated))
        assert found.is_cut == (len(truncated) < len(whole))
        assert found.has_token
        in_chunks = read(tokenizer, "red " * words + "{token}", rows, "chunk")
        assert (in_chunks.tokens, in_chunks.has_rows, in_chunks.is_cut) == (found.tokens, True, False)


@pytest.mark.parametrize(
    ("caption", "mentioned"),
    [("my {token}, red", True), ("my <cat>", True), ("a cat", False), ("a <cat>_big", False), ("{tokens}", False)],
)
def test_captions_without_the_token_have_no_rows(tokenizer: Any, caption: str, mentioned: bool) -> None:
    for long_captions in ("truncate", "chunk"):
        found = read(tokenizer, caption, long_captions=long_captions)
        assert (found.has_token, found.has_rows) == (mentioned, mentioned)


def test_shuffled_tags_are_read_with_the_token_last(tokenizer: Any) -> None:
    """A token of four rows is cut off behind 70 words, a word and two commas; kept at the front it is read."""
    caption = "{token}, " + "red " * 70 + ", red"
    plain = read(tokenizer, caption, 4)
    assert plain.text == "<cat>, " + "red " * 70 + ", red"
    assert (plain.tokens, plain.has_rows, plain.is_cut) == (4 + 1 + 70 + 1 + 1, True, True)
    shuffled = read(tokenizer, caption, 4, shuffle_tags=True)
    assert shuffled.text == " ".join(["red"] * 70) + ", red, <cat>"
    assert (shuffled.tokens, shuffled.has_rows, shuffled.is_cut) == (4 + 1 + 70 + 1 + 1, False, True)
    assert read(tokenizer, caption, 4, shuffle_tags=True, keep_tags=1).has_rows


def test_captions_of_several_pictures(tokenizer: Any) -> None:
    """Each of them once, in the order of the pictures."""
    examples = [example("b {token}", "a {token}"), example("c {token}", "b {token}")]
    assert list(read_captions(Concept("<cat>"), examples, tokenizer, 75, 1, "truncate")) == [
        "b {token}",
        "a {token}",
        "c {token}",
    ]


def test_small_pictures() -> None:
    wide = example(name="wide.png", size=(100, 40))
    examples = [wide, example(name="square.png", size=(64, 64))]
    assert small_pictures(examples, Framing(40)) == []
    assert small_pictures(examples, Framing(64)) == [SmallPicture("wide.png", (100, 40), (64, 64))]
    assert small_pictures(examples, Framing(64, bucket_step=16)) == []  # shown at 96 x 32 and at 64 x 64
    assert [each.name for each in small_pictures(examples, Framing(65))] == ["wide.png", "square.png"]


def test_tokens_that_are_words(tokenizer: Any) -> None:
    """A token that the tokenizer knows is refused, and to be tuned one that it does not know."""
    assert token_problem(Concept("<my-cat>"), tokenizer, "clip_l") is None
    assert token_problem(Concept("<cat>"), tokenizer, "clip_l") == (
        "token is '<cat>', and 'cat' is a word of clip_l: with cat.safetensors A1111 would change every 'cat', and "
        "SD.Next does not load it; '<my-cat>' would do"
    )
    assert token_problem(Concept("cat", tune=True), tokenizer, "clip_l") is None
    told = token_problem(Concept("cat"), tokenizer, "clip_l")
    assert told == (
        "'cat' is already a word of clip_l; choose another token such as '<my-cat>', or add tune=True to train that "
        "word itself"
    )
    told = token_problem(Concept("cats", tune=True), tokenizer, "clip_g")
    assert told == "tune=True wants a word that clip_g has as one token, and 'cats' is none"


@pytest.mark.parametrize(("resolution", "near"), [(512, None), (72, None), (500, 496), (63, 64), (33, 32), (3, 8)])
def test_resolutions_that_are_no_latents(resolution: int, near: int | None) -> None:
    told = resolution_problem(resolution, 8)
    assert told == (near and f"resolution is {resolution}; choose a multiple of 8, such as {near}")


def test_views_without_the_subject() -> None:
    """One view that is all background is enough; without a mask nothing is missed."""
    background, subject = torch.full((1, 4, 4), 0.1), torch.full((1, 4, 4), 0.1)
    subject[0, 3, 3] = 0.2
    assert missed_subject("a.png", [subject, None, subject], 0.1) == []
    (line,) = missed_subject("a.png", [subject, background], 0.1)
    assert line == 'a.png: what is shown of it has nothing of its mask; add crop="subject"'
