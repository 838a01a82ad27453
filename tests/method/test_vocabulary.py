"""Words as tokens."""

from __future__ import annotations

from tests.tiny_text import tiny_tokenizer
from ti_trainer.method.vocabulary import is_known_word, word_ids

TOKENIZER = tiny_tokenizer()


def test_word_ids() -> None:
    """The tokens themselves, as the vocabulary numbers them, with nothing around them."""
    known = TOKENIZER.get_vocab()
    assert word_ids(TOKENIZER, "a fluffy cat") == [known[f"{word}</w>"] for word in ("a", "fluffy", "cat")]
    assert word_ids(TOKENIZER, "") == []


def test_known_words() -> None:
    assert [is_known_word(TOKENIZER, word) for word in ("cat", "Cat", "cats", "red cat", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert not is_known_word(TOKENIZER, TOKENIZER.unk_token)
