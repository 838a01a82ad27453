"""The words of a vocabulary to which rows are nearest."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .vocabulary import Vocabulary


def nearest_words(rows: Tensor, vocabulary: Vocabulary, count: int) -> list[list[tuple[str, float]]]:
    """For each of rows (n, D) the `count` words of the vocabulary with the largest cosines, and these.

    Tables of some models have more entries than there are words: they are left out, as is what was added to them.
    """
    table = vocabulary.table.detach()[: vocabulary.tokenizer.vocab_size].to(rows)  # (V, D)
    found = []
    for row in rows:
        cosines, ids = F.cosine_similarity(row[None], table, dim=1).topk(min(count, len(table)))  # (count,)
        words = vocabulary.tokenizer.convert_ids_to_tokens(ids.tolist())
        found.append(
            [(word.removesuffix("</w>"), cosine) for word, cosine in zip(words, cosines.tolist(), strict=True)]
        )
    return found
