"""Tokenizers that read the text beside a row apart, as ComfyUI does.

ComfyUI takes `embedding:NAME` out of a prompt and tokenises what stands left and right of it by itself. The left part
keeps its last space; later parts are split at white space and joined by single spaces, so they have none at their ends.
To CLIP and T5 a space at an end is nothing. Byte-level BPE, which Qwen has, writes it into the tokens: " on" becomes
"on" behind a row, and a lone space stands in front of the first. Rows that were trained in another text would see
neither (sd1_clip.py, SDTokenizer.tokenize_with_weights and _try_get_embedding, of 2026).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokenizer = TypeVar("Tokenizer", bound="PreTrainedTokenizerBase")


class ReadingApart:
    """Mixed into the class of a tokenizer of transformers: words that are added later are rows."""

    own_size: int  # words that the tokenizer came with
    row_id: int | None  # what stands for each of them; None: its own id

    @property
    def rows(self) -> dict[str, int]:
        """The words that were added, and the ids that stand for them."""
        added: dict[str, int] = self.added_tokens_encoder  # type: ignore[attr-defined]
        found = {word: number for word, number in added.items() if number >= self.own_size}
        return found if self.row_id is None else dict.fromkeys(found, self.row_id)

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        **others: Any,
    ) -> Any:
        """As the tokenizer that this was; arguments beyond these say what else to return, and are let be."""
        texts = [text] if isinstance(text, str) else list(text)
        end = self.read_plainly("", add_special_tokens)
        room = max_length - len(end) if truncation and max_length else None
        ids = [[*self.ids_of(each)[:room], *end] for each in texts]
        from transformers import BatchEncoding

        found = BatchEncoding({"input_ids": ids, "attention_mask": [[1] * len(each) for each in ids]})
        padded = self.pad(  # type: ignore[attr-defined]
            found, padding=padding, max_length=max_length, return_tensors=return_tensors, verbose=False
        )
        if isinstance(text, str) and return_tensors is None:
            return BatchEncoding({name: rows[0] for name, rows in padded.items()})
        return padded

    def ids_of(self, text: str) -> list[int]:
        """The ids of a text and of the rows in it."""
        rows = self.rows
        if not rows:
            return self.read_plainly(text)
        longest_first = "|".join(map(re.escape, sorted(rows, key=len, reverse=True)))
        first, *others = re.split(f"({longest_first})", text)
        ids = self.read_plainly(first)
        for row, behind in zip(others[::2], others[1::2], strict=True):
            ids += [rows[row], *self.read_plainly(" ".join(behind.split()))]
        return ids

    def read_plainly(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """The ids of a text without rows."""
        read = super().__call__(  # type: ignore[misc]
            text, add_special_tokens=add_special_tokens, truncation=False, verbose=False
        )
        return list(read.input_ids)


def read_apart(tokenizer: Tokenizer, row_id: int | None = None) -> Tokenizer:
    """Make a tokenizer read so from now on; it keeps its class's name, which is saved with it.

    row_id: the id that stands for each row, by default one of its own for each.
    """
    if not isinstance(tokenizer, ReadingApart):
        kind = type(tokenizer)
        tokenizer.__class__ = type(kind.__name__, (ReadingApart, kind), {})
        tokenizer.own_size = len(tokenizer)
        tokenizer.row_id = row_id
    return tokenizer
