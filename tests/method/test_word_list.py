"""Which words are tried: of a small vocabulary its own, of a large one a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from ti_trainer.config.bundled import TINY_SD, resolve
from ti_trainer.method import word_list
from ti_trainer.method.word_list import DESCRIBING_WORDS, IDLE_WORDS, LISTED_WORDS, candidate_words, whole_words


@dataclass
class Words:
    """A vocabulary for the functions under test."""

    tokenizer: Any
    table: Tensor


@pytest.fixture
def vocabulary(tokenizer: Any) -> Words:
    """That of the tiny models; "cat" was trained ten times as long as "dog", and others twice as long."""
    table = torch.full((len(tokenizer), 4), 0.5)  # norm 1
    known = tokenizer.get_vocab()
    table[known["cat</w>"]] = 5.0
    table[known["dog</w>"]] = 0.2
    return Words(tokenizer, table)


def test_the_list() -> None:
    """Plain words, each once, some 300; none of them says nothing."""
    assert 300 <= len(LISTED_WORDS) <= 350
    assert len(set(LISTED_WORDS)) == len(LISTED_WORDS)
    assert all(word.isalpha() and word.islower() and len(word) >= 3 for word in (*LISTED_WORDS, *IDLE_WORDS))
    assert not IDLE_WORDS & set(LISTED_WORDS)
    assert {"cat", "orange", "striped", "wooden"} <= set(LISTED_WORDS)
    assert {"orange", "striped", "wooden", "small"} <= DESCRIBING_WORDS <= set(LISTED_WORDS)
    assert not {"cat", "house", "collar", "wheels", "flower"} & DESCRIBING_WORDS


def test_whole_words(vocabulary: Words) -> None:
    """Pieces, letters, words of two letters and what was never trained are left out; the order is the vocabulary's."""
    found = whole_words(vocabulary)
    ids = vocabulary.tokenizer.convert_tokens_to_ids([f"{word}</w>" for word in found])
    assert ids == sorted(ids)
    assert {"cat", "photo", "red", "the", "picture"} <= set(found)
    assert {"dog", "of", "in", "on", "my", "ph", "a"} & set(found) == set()


def test_candidates_of_a_small_vocabulary(vocabulary: Words) -> None:
    assert set(candidate_words(vocabulary)) == set(whole_words(vocabulary)) - IDLE_WORDS
    assert "photo" not in candidate_words(vocabulary)


def test_candidates_of_a_large_vocabulary(vocabulary: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the list that are one token; it does not matter which were trained."""
    monkeypatch.setattr(word_list, "MOST_WORDS", 3)
    assert set(candidate_words(vocabulary)) == {"cat", "dog", "red", "snow", "beach"}


def test_a_vocabulary_without_ends_of_words_gets_the_list() -> None:
    class Other:
        unk_token_id = 0

        def get_vocab(self) -> dict[str, int]:
            return {"x": 0}

        def __call__(self, text: str, add_special_tokens: bool) -> Any:
            return type("Encoded", (), {"input_ids": [1]})

    assert candidate_words(Words(Other(), torch.ones(1, 2))) == list(LISTED_WORDS)


def test_words_of_the_bundled_model() -> None:
    """Exactly the words of its captions that were trained: objects, colours, patterns, parts and scenes among them."""
    from safetensors.torch import load_file
    from transformers import CLIPTokenizer

    folder = resolve(TINY_SD)
    weights = load_file(f"{folder}/text_encoder/model.safetensors")
    (table,) = (tensor for name, tensor in weights.items() if name.endswith("token_embedding.weight"))
    found = candidate_words(Words(CLIPTokenizer.from_pretrained(f"{folder}/tokenizer"), table))
    assert {"cat", "heart", "orange", "black", "striped", "spotted", "collar", "wheels", "beach"} <= set(found)
    assert len(found) == 53
