"""Where the rows of a concept start."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .config import Concept
from .embedding_files import read_embedding
from .errors import BadInput
from .randomness import generator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_VECTORS = 4
SPREAD = 0.1  # of further rows that start from the same word, in units of that row's standard deviation

# table (V, D), tokenizer, text after "file:" or the word or phrase itself, rows wanted or None, generator -> (n, D)
Initializer = Callable[[Tensor, "PreTrainedTokenizerBase", str, "int | None", torch.Generator], Tensor]


def word_ids(tokenizer: PreTrainedTokenizerBase, words: str) -> list[int]:
    """The tokens of a text, without start and end."""
    return list(tokenizer(words, add_special_tokens=False).input_ids)


def is_known_word(tokenizer: PreTrainedTokenizerBase, word: str) -> bool:
    """Whether the vocabulary has the word as one token of its own."""
    ids = word_ids(tokenizer, word)
    return len(ids) == 1 and ids[0] != tokenizer.unk_token_id


def from_words(
    table: Tensor, tokenizer: PreTrainedTokenizerBase, words: str, count: int | None, draws: torch.Generator
) -> Tensor:
    """A row for each token of a word or phrase.

    If more rows are wanted than there are tokens, further ones start near the last token's, apart from each other;
    if fewer are wanted, the phrase is refused.
    """
    ids = word_ids(tokenizer, words)
    if not ids:
        raise BadInput(f"--init '{words}' has no words; give a word such as 'cat'")
    count = count or (len(ids) if len(ids) > 1 else DEFAULT_VECTORS)
    if count < len(ids):
        raise BadInput(
            f"--init '{words}' has {len(ids)} tokens, more than --num_vectors {count}; shorten it or leave one out"
        )
    rows = table[ids].float()  # (tokens, D)
    last = rows[-1].expand(count - len(ids), -1)
    noise = torch.randn(last.shape, generator=draws) * rows[-1].std() * SPREAD
    return torch.cat([rows, last + noise])


def from_vocabulary_statistics(
    table: Tensor, tokenizer: PreTrainedTokenizerBase, words: str, count: int | None, draws: torch.Generator
) -> Tensor:
    """Gaussian rows with the mean and the standard deviation of each column of the vocabulary."""
    noise = torch.randn(count or DEFAULT_VECTORS, table.shape[1], generator=draws)
    return table.float().mean(0) + noise * table.float().std(0)


def from_file(
    table: Tensor, tokenizer: PreTrainedTokenizerBase, path: str, count: int | None, draws: torch.Generator
) -> Tensor:
    """Continue from an embedding file."""
    (rows,) = read_embedding(path).fit({"clip_l": table.shape[1]}).values()
    if count not in (None, len(rows)):
        raise BadInput(f"{path} has {len(rows)} vectors, not --num_vectors {count}; leave --num_vectors out")
    return rows


INITIALIZERS: dict[str, Initializer] = {
    "words": from_words,
    "random": from_vocabulary_statistics,
    "file": from_file,
}


def word_in_token(tokenizer: PreTrainedTokenizerBase, token: str) -> str:
    """The last word of a token that the model knows: "<my-cat>" -> "cat"; raises BadInput when there is none."""
    for word in reversed(re.findall(r"[a-z]{2,}", token)):
        if is_known_word(tokenizer, word):
            return word
    raise BadInput(
        f"--init auto: no part of '{token}' is a word that the model knows; add --init WORD or --init random"
    )


def initial_rows(concept: Concept, tokenizer: PreTrainedTokenizerBase, table: Tensor, slot: str, seed: int) -> Tensor:
    """The rows from which a concept starts in one slot, (n, D) float32; table: (V, D)."""
    table = table.detach().cpu()
    if concept.tune:
        return table[word_ids(tokenizer, concept.token)].float()
    kind, _, argument = concept.init.partition(":")
    if concept.init == "auto":
        kind, argument = "words", word_in_token(tokenizer, concept.token)
    elif kind not in ("random", "file"):
        kind, argument = "words", concept.init
    draws = generator(seed, "init", concept.token, slot)
    return INITIALIZERS[kind](table, tokenizer, argument, concept.num_vectors, draws)
