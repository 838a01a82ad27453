"""Words that others have written into files."""

from pathlib import Path

import pytest

from ti_trainer.embedding_files.tokens import LONGEST, check_stem, quoted, token_of_file, usable_token
from ti_trainer.errors import BadInput


def test_bad_names() -> None:
    for stem in ("my cat", "<cat", "[cat]", "a/b", "..", ".cat", "Cat", "", "cät", "a\\b"):
        with pytest.raises(BadInput, match=r"lower-case letters, digits"):
            check_stem(stem)
    for stem in ("cat", "my-cat_2", "7"):
        check_stem(stem)
    names = {"My Cat": "<my-cat>", "[Cat]": "<cat>", ".hidden": "<hidden>", "a<b": "<a-b>", "...": "<embedding>"}
    for name, token in names.items():
        assert token_of_file(Path(f"{name}.pt")) == token
        assert usable_token(token) == token


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("<cat>", "<cat>"),
        ("Cat", "cat"),
        ("  <Big-Dog>\n", "<big-dog>"),
        ("a cat", None),
        ("<cat", None),
        ("../cat", None),
        ("", None),
        ("x" * LONGEST, "x" * LONGEST),
        ("x" * (LONGEST + 1), None),
        (None, None),
        (7, None),
        (b"cat", None),
    ],
)
def test_usable_token(text: object, token: str | None) -> None:
    assert usable_token(text) == token


def test_quoted() -> None:
    """Short, on one line, and nothing that a terminal obeys; Python's own quoting can be read back."""
    assert quoted("<cat>") == "'<cat>'"
    assert quoted("\x1b[2J\n") == r"'\x1b[2J\n'"
    assert quoted("y" * 10_000) == f"'{'y' * LONGEST}'"


def test_file_name_with_brackets_is_no_word_in_webuis() -> None:
    with pytest.raises(BadInput, match="named '<cat>': leave the brackets out"):
        check_stem("<cat>")


def test_token_of_a_long_file_name() -> None:
    assert token_of_file(Path("x" * 200 + ".pt")) == f"<{'x' * LONGEST}>"
    assert token_of_file(Path("dir/My  Cat v2 (final).safetensors")) == "<my-cat-v2-final>"
