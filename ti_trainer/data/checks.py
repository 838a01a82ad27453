"""What is wrong with a concept's captions and pictures, found without the weights of a model.

`training/preflight.py` refuses or warns of what is found here, and `reports/dataset_report.py` prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..config.config import Concept
from ..method.initializers import word_ids
from ..method.tokens import ROW, expand, fill, mentions
from .captions import CaptionPolicy, longest_way_to_token
from .examples import Example
from .geometry import Framing


@dataclass(frozen=True)
class CaptionReading:
    """What a text encoder reads of a caption; where tags are shuffled, in the order that puts the token last."""

    text: str  # with the token filled in
    tokens: int  # without start and end; each row of the concept counts as one
    window: int  # the most tokens that the encoder reads at once
    has_token: bool  # the caption mentions the concept
    has_rows: bool  # the model reads every row of the concept
    is_cut: bool  # the model reads only the beginning


@dataclass(frozen=True)
class SmallPicture:
    """A picture that is smaller than the size at which it is shown."""

    name: str
    size: tuple[int, int]  # width, height
    shown: tuple[int, int]  # width, height


def read_captions(
    concept: Concept, examples: Sequence[Example], tokenizer: Any, window: int, rows: int, long_captions: str
) -> dict[str, CaptionReading]:
    """How the model reads each caption of the examples, by the caption with {token} in it.

    tokenizer: of one text encoder, which knows ROW as a token; window: the most tokens that the encoder reads at once;
    rows: how many the concept has; long_captions: "chunk" or "truncate", as in TrainConfig.
    """
    captions = dict.fromkeys(caption for example in examples for caption in example.captions)
    policy = CaptionPolicy.of(concept)
    row = tokenizer.convert_tokens_to_ids(ROW)
    reads_all = long_captions == "chunk"
    readings = {}
    for caption in captions:
        text = fill(longest_way_to_token(caption, policy), concept.token)
        ids = word_ids(tokenizer, expand(text, {concept.token: range(rows)})[0])
        has_token = mentions(text, concept.token)
        readings[caption] = CaptionReading(
            text=text,
            tokens=len(ids),
            window=window,
            has_token=has_token,
            has_rows=has_token and (reads_all or ids[:window].count(row) >= rows),
            is_cut=len(ids) > window and not reads_all,
        )
    return readings


def small_pictures(examples: Sequence[Example], framing: Framing) -> list[SmallPicture]:
    """The pictures that have to be enlarged."""
    small = []
    for example in examples:
        shown = framing.size(example.size)
        if example.size[0] < shown[0] or example.size[1] < shown[1]:
            small.append(SmallPicture(example.picture.name, example.size, shown))
    return small
