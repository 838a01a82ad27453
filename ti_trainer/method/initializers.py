"""Where the rows of a concept start."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..embedding_files import read_embedding
from ..errors import BadInput
from ..files.wording import flag
from .randomness import generator
from .tokens import ROW
from .vocabulary import Vocabularies, Vocabulary, is_known_word, word_ids
from .word_list import DESCRIBING_WORDS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_VECTORS = 4
# Rows that start from no word of their own get noise of this length, on average, in units of a word's length.
SPREAD = 0.1


Draws = Mapping[str, torch.Generator]  # by slot

# A function from a Start, and the text of `split_init`, to {slot: (n, D)}.
Initializer = Callable[[Vocabularies, "Start", str, Draws], dict[str, Tensor]]


@dataclass(frozen=True)
class Start:
    """What a user says about where the rows of a token start."""

    token: str
    init: str = "auto"  # a word, a phrase, "random", "file:PATH", or "auto": words of the pictures, still to be found
    num_vectors: int | None = None  # rows; None: as many as `init` has, else DEFAULT_VECTORS
    tune: bool = False  # the token is a word that the model knows, and its own rows are the start


def default_count(tokens: int) -> int:
    """How many rows start from a text of so many tokens, unless a number is asked for: one for each token of a phrase.

    A single word, or none, gives DEFAULT_VECTORS.
    """
    return tokens if tokens > 1 else DEFAULT_VECTORS


def count_rows(start: Start, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many rows `initial_rows` gives the token, without the vocabulary's table.

    Raises BadInput where they start from an embedding file that cannot be read.
    """
    if start.tune:
        return len(word_ids(tokenizer, start.token))
    kind, argument = split_init(start.init)
    if kind == "file":
        return read_embedding(argument, start.token).num_vectors
    words = word_ids(tokenizer, argument) if kind == "words" else []
    return start.num_vectors or default_count(len(words))


def split_init(init: str) -> tuple[str, str]:
    """`Start.init` as "auto" or a key of INITIALIZERS, and its text: a path, or the words."""
    kind, _, argument = init.partition(":")
    if init == "auto" or (kind in INITIALIZERS and kind != "words"):
        return kind, argument
    return "words", init


def starts_from_words(start: Start) -> bool:
    """Whether every row starts from the row of a word of the vocabulary."""
    return start.tune or split_init(start.init)[0] == "words"


def from_words(vocabularies: Vocabularies, start: Start, words: str, draws: Draws) -> dict[str, Tensor]:
    """The vocabulary's row of each token of a word or phrase, {slot: (n, D)}; draws: of the noise of further rows.

    If start.num_vectors is larger than the number of tokens, further rows stand in front, where a noun has what
    describes it. They say nothing in particular: the last of them is the direction of `describing_word`, the others
    that of the mean of all words, plus SPREAD e / sqrt(D) with e from N(0, 1) in every column, as long as the row of
    the last token. Raises BadInput if it is smaller, and if there are no words.
    """
    count = start.num_vectors
    return {slot: rows_of_words(known, words, count, draws[slot]) for slot, known in vocabularies.items()}


def rows_of_words(vocabulary: Vocabulary, words: str, count: int | None, draws: torch.Generator) -> Tensor:
    """`from_words` for one vocabulary, (n, D)."""
    if ROW in words:
        raise BadInput(f"{flag('init', words)} has the name {ROW}, which stands for learned rows; choose another word")
    ids = word_ids(vocabulary.tokenizer, words)
    if not ids:
        raise BadInput(f"{flag('init', words)} has no words; give a word such as 'cat'")
    count = count or default_count(len(ids))
    if count < len(ids):
        raise BadInput(
            f"{flag('init', words)} has {len(ids)} tokens, more than {flag('num_vectors', count)}; shorten it or "
            "leave one out"
        )
    rows = vocabulary.table.detach().cpu()[ids].float()  # (tokens, D)
    if count == len(ids):
        return rows
    further = count - len(ids)
    table = vocabulary.table.detach().cpu()  # (V, D)
    means = torch.stack([mean_direction(table)] * (further - 1) + [describing_word(vocabulary)])  # (further, D)
    noise = torch.randn(means.shape, generator=draws) * SPREAD / math.sqrt(means.shape[1])
    return torch.cat([F.normalize(means + noise, dim=1) * rows[-1].norm(), rows])


def describing_word(vocabulary: Vocabulary) -> Tensor:
    """The `mean_direction` of the words that describe things, (D,); of all words where the vocabulary has none."""
    table = vocabulary.table.detach().cpu()  # (V, D)
    tokenizer = vocabulary.tokenizer
    ids = [word_ids(tokenizer, word)[0] for word in sorted(DESCRIBING_WORDS) if is_known_word(tokenizer, word)]
    return mean_direction(table[ids] if ids else table)


def mean_direction(rows: Tensor) -> Tensor:
    """The direction, of length 1, of a weighted mean of rows (K, D), (D,) float32.

    A row counts as much as the square of its length. So words that the model was hardly trained on, which stay short,
    count little.
    """
    exact = rows.double()
    return F.normalize((exact * exact.square().sum(1, keepdim=True)).sum(0), dim=0).float()


def from_vocabulary_statistics(vocabularies: Vocabularies, start: Start, words: str, draws: Draws) -> dict[str, Tensor]:
    """Rows mean + std e with e from N(0, 1), {slot: (n, D)}; mean and std of each column over the vocabulary.

    n is start.num_vectors or DEFAULT_VECTORS; words is not used.
    """
    rows = {}
    for slot, vocabulary in vocabularies.items():
        table = vocabulary.table.detach().cpu().float()  # (V, D)
        noise = torch.randn(start.num_vectors or DEFAULT_VECTORS, table.shape[1], generator=draws[slot])
        rows[slot] = table.mean(0) + noise * table.std(0)
    return rows


def from_file(vocabularies: Vocabularies, start: Start, path: str, draws: Draws) -> dict[str, Tensor]:
    """The rows of an embedding file of any format, {slot: (n, D)}; of a file with several embeddings, the token's.

    Raises BadInput if it cannot be read, has other widths than the vocabularies, or not start.num_vectors rows. Draws
    are not used.
    """
    embedding = read_embedding(path, start.token)
    count = start.num_vectors
    if count not in (None, embedding.num_vectors):
        raise BadInput(
            f"{path} has {embedding.num_vectors} vectors, not {flag('num_vectors', count)}; leave "
            f"{flag('num_vectors')} out"
        )
    return embedding.fit({slot: vocabulary.table.shape[1] for slot, vocabulary in vocabularies.items()})


INITIALIZERS: dict[str, Initializer] = {
    "words": from_words,
    "random": from_vocabulary_statistics,
    "file": from_file,
}


def initial_rows(start: Start, vocabularies: Vocabularies, seed: int) -> dict[str, Tensor]:
    """The rows from which a token starts, {slot: (n, D)} float32 on the CPU, with the same n in every slot.

    seed: of the draws, which depend also on token and slot. Raises BadInput where the start is impossible.
    """
    if start.tune:
        return {
            slot: vocabulary.table.detach().cpu()[word_ids(vocabulary.tokenizer, start.token)].float()
            for slot, vocabulary in vocabularies.items()
        }
    kind, argument = split_init(start.init)
    assert kind != "auto", "the words of the pictures have not been found"
    draws = {slot: generator(seed, "init", start.token, slot) for slot in vocabularies}
    rows = INITIALIZERS[kind](vocabularies, start, argument, draws)
    counts = {slot: len(own) for slot, own in rows.items()}
    if len(set(counts.values())) > 1:
        raise BadInput(
            f"{flag('init', start.init)} has not as many tokens everywhere ({counts}); add {flag('num_vectors')}"
        )
    return rows
