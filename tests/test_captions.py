import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import TextualInversionLoaderMixin

from tests.tiny_text import WIDTH, tiny_text_encoder, tiny_tokenizer
from ti_trainer.captions import TEMPLATES, expand, fill, load_templates, mentions, row_names
from ti_trainer.errors import BadInput

NAMES = {token: row_names(token, count) for token, count in {"<cat>": 3, "<cat-2>": 2, "<dog>": 1, "blorp": 2}.items()}


class TextOnly(DiffusionPipeline, TextualInversionLoaderMixin):
    """The part of a diffusers pipeline that loads embeddings."""

    def __init__(self, tokenizer, text_encoder) -> None:
        super().__init__()
        self.register_modules(tokenizer=tokenizer, text_encoder=text_encoder)


@pytest.mark.parametrize(("token", "count"), [("<cat>", 1), ("<cat>", 3), ("blorp", 2), ("<my-cat_x>", 12)])
def test_row_names_are_those_of_diffusers(token: str, count: int) -> None:
    tokenizer = tiny_tokenizer()
    known = len(tokenizer)
    pipeline = TextOnly(tokenizer, tiny_text_encoder(tokenizer))
    pipeline.load_textual_inversion({token: torch.ones(count, WIDTH)}, token=token)
    added = tokenizer.convert_ids_to_tokens(range(known, len(tokenizer)))
    assert row_names(token, count) == tuple(added)
    caption = f"a photo of {token}, red"
    assert expand(caption, {token: row_names(token, count)}) == pipeline.maybe_convert_prompt(caption, tokenizer)


@pytest.mark.parametrize(
    ("caption", "expanded"),
    [
        ("a <cat>", "a <cat> <cat>_1 <cat>_2"),
        ("<cat>, <dog> and <cat>.", "<cat> <cat>_1 <cat>_2, <dog> and <cat> <cat>_1 <cat>_2."),
        ("a <cat-2> by <cat>", "a <cat-2> <cat-2>_1 by <cat> <cat>_1 <cat>_2"),
        ('(<cat-2>)\'s "<dog>"', '(<cat-2> <cat-2>_1)\'s "<dog>"'),
        ("a blorp", "a blorp blorp_1"),
        ("<dog>\n<cat-2>", "<dog>\n<cat-2> <cat-2>_1"),
        # a token inside a longer word is not the token
        ("a <cat>_big", "a <cat>_big"),
        ("a <cat>_1", "a <cat>_1"),
        ("a <cat>s <cat>-like x<cat>", "a <cat>s <cat>-like x<cat>"),
        ("two blorps, a blorp_1, a mini-blorp", "two blorps, a blorp_1, a mini-blorp"),
        ("a <Cat> and a cat", "a <Cat> and a cat"),
        ("", ""),
    ],
)
def test_expand(caption: str, expanded: str) -> None:
    assert expand(caption, NAMES) == expanded
    assert expand(caption, dict(reversed(NAMES.items()))) == expanded  # whichever concept comes first
    assert any(mentions(caption, token) for token in NAMES) == (caption != expanded or caption.count("<dog>") > 0)


def test_expand_without_tokens() -> None:
    assert expand("a <cat> and {token}", {}) == "a <cat> and {token}"


def test_longer_token_that_starts_with_a_shorter_one() -> None:
    names = {"blorp": ("blorp", "blorp_1"), "blorp-x": ("blorp-x",), "<blorp>": ("<blorp>", "<blorp>_1")}
    assert expand("blorp-x blorp <blorp>", names) == "blorp-x blorp blorp_1 <blorp> <blorp>_1"
    assert not mentions("blorp-x", "blorp")


def test_fill() -> None:
    assert fill("{token} by {token}, {other} {}", "<cat>") == "<cat> by <cat>, {other} {}"


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_bundled_templates(name: str) -> None:
    templates = load_templates(name)
    assert len(set(templates)) == len(templates) >= 10
    assert all(template.count("{token}") == 1 and mentions(fill(template, "<cat>"), "<cat>") for template in templates)


def test_templates_from_a_file(tmp_path) -> None:
    file = tmp_path / "mine.txt"
    file.write_bytes("\ufeffa {token} ü\r\n\r\n  {token} here  \n".encode())
    assert load_templates(str(file)) == ("a {token} ü", "{token} here")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "choose object or style"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a {token}\na photo\n", "'a photo' in"),
        ("a {token} ü".encode("latin-1"), "UTF-8"),
    ],
)
def test_templates_that_are_refused(tmp_path, content: bytes | None, message: str) -> None:
    file = tmp_path / "mine.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInput) as refusal:
        load_templates(str(file))
    assert message in str(refusal.value)
    assert str(file) in str(refusal.value)
