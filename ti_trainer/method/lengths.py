"""How long rows are beside words, and how far they have turned: a row's length says how loud its word is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .initializers import Start, starts_from_words
from .vocabulary import Vocabularies, Vocabulary

WORD_END = "</w>"  # CLIP's, behind the last piece of a word
WORD_STARTS = ("\u2581", "\u0120")  # SentencePiece's and byte-level BPE's, before the first piece


def is_whole_word(entry: str) -> bool:
    """Whether an entry of a tokenizer's vocabulary is a word of at least two letters, and no piece of one."""
    ends = entry.endswith(WORD_END)
    starts = entry.startswith(WORD_STARTS)
    letters = entry.removesuffix(WORD_END).lstrip("".join(WORD_STARTS))
    return ends != starts and len(letters) > 1 and letters.isalpha()


def word_length(vocabulary: Vocabulary) -> float:
    """How long the row of a word is that the model knows well.

    Of the whole words' lengths l it is the smallest for which those up to it have half of all sum l^2. Where all words
    are about equally long, as in the published models, that is their median. Words that a model was hardly trained on
    stay short and have little share in the sum: they decide nothing, however many they are. A vocabulary in which no
    whole words are told apart is measured as a whole.
    """
    table = vocabulary.table.detach()
    whole = [number for entry, number in vocabulary.tokenizer.get_vocab().items() if is_whole_word(entry)]
    rows = table[[number for number in sorted(whole) if number < len(table)] or slice(None)]  # (W, D)
    lengths = rows.cpu().double().norm(dim=1).sort().values  # (W,)
    shares = lengths.square().cumsum(0)
    return lengths[(shares < shares[-1] / 2).sum()].item()


def lengths_of_words(start: Start, initial: Mapping[str, Tensor], vocabularies: Vocabularies) -> dict[str, Tensor]:
    """For each row the length with which its own is compared, {slot: (n,)}.

    It is the length of initial {slot: (n, D)} where the rows start from words, and else that of `word_length`.
    """
    if starts_from_words(start):
        return {slot: rows.norm(dim=1) for slot, rows in initial.items()}
    return {slot: rows.new_full((len(rows),), word_length(vocabularies[slot])) for slot, rows in initial.items()}


def length_ratio(rows: Mapping[str, Tensor], words: Mapping[str, Tensor]) -> Tensor:
    """The mean over all rows of their length over a word's; rows: {slot: (n, D)}, words: {slot: (n,)}. A scalar."""
    return torch.cat([own.norm(dim=1) / words[slot] for slot, own in rows.items()]).mean()


def turned(rows: Mapping[str, Tensor], initial: Mapping[str, Tensor]) -> Tensor:
    """The angles between rows and their starts in degrees, of all slots one after the other, (n,) float64.

    Both are {slot: (n, D)}. With unit vectors u and v it is 2 atan2(|u - v|, |u + v|), which small angles do not spoil.
    """
    angles = []
    for slot, own in rows.items():
        here = F.normalize(own.cpu().double(), dim=1)
        there = F.normalize(initial[slot].cpu().double(), dim=1)
        angles.append(2 * torch.atan2((here - there).norm(dim=1), (here + there).norm(dim=1)))
    return torch.cat(angles).rad2deg()
