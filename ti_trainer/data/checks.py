"""What is wrong with a concept's token, captions and pictures, found without the weights of a model.

`training/preflight.py` refuses or warns of what is found here, and `reports/dataset_report.py` prints it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..config.concept import Concept
from ..files.wording import flag
from ..method.tokens import ROW, expand, fill, mentions
from ..method.vocabulary import is_known_word, word_ids
from .captions import CaptionPolicy, longest_way_to_token
from .examples import Example
from .geometry import Framing
from .oddities import TINY


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


def token_problem(concept: Concept, tokenizer: Any, encoder: str) -> str | None:
    """Why a concept cannot have its token; encoder: the name of the text encoder that reads with the tokenizer."""
    token = concept.token
    known = is_known_word(tokenizer, token) or token in tokenizer.get_vocab()
    if known and not concept.tune:
        return (
            f"'{token}' is already a word of {encoder}; choose another {flag('token')} such as '<my-{concept.stem}>', "
            f"or add {flag('tune', True)} to train that word itself"
        )
    stem = concept.stem
    if not concept.tune and is_known_word(tokenizer, stem):
        return (
            f"{flag('token')} is '{token}', and '{stem}' is a word of {encoder}: with {stem}.safetensors A1111 would "
            f"change every '{stem}', and SD.Next does not load it; '<my-{stem}>' would do"
        )
    if concept.tune and not known:
        return f"{flag('tune', True)} wants a word that {encoder} has as one token, and '{token}' is none"
    return None


def resolution_problem(resolution: int, pixels_per_latent: int) -> str | None:
    """Why pictures cannot be shown with sides of so many pixels."""
    if not resolution % pixels_per_latent:
        return None
    near = max(1, round(resolution / pixels_per_latent)) * pixels_per_latent
    return f"{flag('resolution')} is {resolution}; choose a multiple of {pixels_per_latent}, such as {near}"


def missed_subject(picture: str, weights: Iterable[Tensor | None], background: float) -> list[str]:
    """A line about a picture of which some view shows nothing of its mask, or each view next to nothing; or none.

    weights: what each latent of each view counts, see `geometry.mask_weights`; background: of what a mask leaves out.
    """
    shares = [(own > background).float().mean().item() for own in weights if own is not None]
    if shares and min(shares) == 0:
        return [f"{picture}: what is shown of it has nothing of its mask; add {flag('crop', 'subject')}"]
    if shares and max(shares) < TINY:
        cure = f"crop it closer, or add {flag('crop', 'subject')}"
        return [
            f"{picture}: what its mask shows fills {max(shares):.1%} of what is shown, and little is learned; {cure}"
        ]
    return []


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
