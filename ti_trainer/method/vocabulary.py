"""The words of a text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


class Vocabulary(Protocol):
    """The words of one text encoder; `families.TextSlot` is one."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    @property
    def table(self) -> Tensor:
        """The embeddings of the words, (V, D)."""
        ...


Vocabularies = Mapping[str, Vocabulary]  # by slot


def word_ids(tokenizer: PreTrainedTokenizerBase, words: str) -> list[int]:
    """The tokens of a text, without start and end."""
    return list(tokenizer(words, add_special_tokens=False).input_ids)


def is_known_word(tokenizer: PreTrainedTokenizerBase, word: str) -> bool:
    """Whether the vocabulary has the word as one token of its own."""
    ids = word_ids(tokenizer, word)
    return len(ids) == 1 and ids[0] != tokenizer.unk_token_id
