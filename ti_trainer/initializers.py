"""Where the rows of a concept start."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

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


class Vocabulary(Protocol):
    """The words of one text encoder; `families.TextSlot` is one."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    @property
    def table(self) -> Tensor:
        """The embeddings of the words, (V, D)."""
        ...


Vocabularies = Mapping[str, Vocabulary]  # by slot
Draws = Mapping[str, torch.Generator]  # by slot

# the text after "file:", or the word or phrase itself -> {slot: (n, D)}
Initializer = Callable[[Vocabularies, str, Concept, Draws], dict[str, Tensor]]


def word_ids(tokenizer: PreTrainedTokenizerBase, words: str) -> list[int]:
    """The tokens of a text, without start and end."""
    return list(tokenizer(words, add_special_tokens=False).input_ids)


def is_known_word(tokenizer: PreTrainedTokenizerBase, word: str) -> bool:
    """Whether the vocabulary has the word as one token of its own."""
    ids = word_ids(tokenizer, word)
    return len(ids) == 1 and ids[0] != tokenizer.unk_token_id


def from_words(vocabularies: Vocabularies, words: str, concept: Concept, draws: Draws) -> dict[str, Tensor]:
    """A row for each token of a word or phrase.

    If more rows are wanted than there are tokens, further ones start near the last token's, apart from each other;
    if fewer are wanted, the phrase is refused.
    """
    count = concept.num_vectors
    return {slot: rows_of_words(known, words, count, draws[slot]) for slot, known in vocabularies.items()}


def rows_of_words(vocabulary: Vocabulary, words: str, count: int | None, draws: torch.Generator) -> Tensor:
    """`from_words` for one vocabulary, (n, D)."""
    ids = word_ids(vocabulary.tokenizer, words)
    if not ids:
        raise BadInput(f"--init '{words}' has no words; give a word such as 'cat'")
    count = count or (len(ids) if len(ids) > 1 else DEFAULT_VECTORS)
    if count < len(ids):
        raise BadInput(
            f"--init '{words}' has {len(ids)} tokens, more than --num_vectors {count}; shorten it or leave one out"
        )
    rows = vocabulary.table.detach().cpu()[ids].float()  # (tokens, D)
    last = rows[-1].expand(count - len(ids), -1)
    noise = torch.randn(last.shape, generator=draws) * rows[-1].std() * SPREAD
    return torch.cat([rows, last + noise])


def from_vocabulary_statistics(
    vocabularies: Vocabularies, words: str, concept: Concept, draws: Draws
) -> dict[str, Tensor]:
    """Gaussian rows with the mean and the standard deviation of each column of the vocabulary."""
    rows = {}
    for slot, vocabulary in vocabularies.items():
        table = vocabulary.table.detach().cpu().float()  # (V, D)
        noise = torch.randn(concept.num_vectors or DEFAULT_VECTORS, table.shape[1], generator=draws[slot])
        rows[slot] = table.mean(0) + noise * table.std(0)
    return rows


def from_file(vocabularies: Vocabularies, path: str, concept: Concept, draws: Draws) -> dict[str, Tensor]:
    """Continue from an embedding file of any format; of one that holds several, from that of the concept's token."""
    embedding, count = read_embedding(path, concept.token), concept.num_vectors
    if count not in (None, embedding.num_vectors):
        raise BadInput(
            f"{path} has {embedding.num_vectors} vectors, not --num_vectors {count}; leave --num_vectors out"
        )
    return embedding.fit({slot: vocabulary.table.shape[1] for slot, vocabulary in vocabularies.items()})


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


def initial_rows(concept: Concept, vocabularies: Vocabularies, seed: int) -> dict[str, Tensor]:
    """The rows from which a concept starts, {slot: (n, D)} float32 with the same n everywhere."""
    if concept.tune:
        return {
            slot: vocabulary.table.detach().cpu()[word_ids(vocabulary.tokenizer, concept.token)].float()
            for slot, vocabulary in vocabularies.items()
        }
    kind, _, argument = concept.init.partition(":")
    if concept.init == "auto":
        first = next(iter(vocabularies.values()))
        kind, argument = "words", word_in_token(first.tokenizer, concept.token)
    elif kind not in ("random", "file"):
        kind, argument = "words", concept.init
    draws = {slot: generator(seed, "init", concept.token, slot) for slot in vocabularies}
    rows = INITIALIZERS[kind](vocabularies, argument, concept, draws)
    counts = {slot: len(own) for slot, own in rows.items()}
    if len(set(counts.values())) > 1:
        raise BadInput(f"--init '{concept.init}' has not as many tokens everywhere ({counts}); add --num_vectors")
    return rows
