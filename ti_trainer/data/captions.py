"""Captions: which ones a picture has, templates for pictures that came with none, and what each draw changes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..config.concept import Concept
from ..errors import BadInput
from ..files.reading import LINES
from ..files.text import read_text
from ..files.wording import flag, printable
from ..method.tokens import TOKEN_FIELD, fill, mentions, token_pattern

NAME_FIELD = "[name]"  # how other trainers write {token}
WORDS_FIELD = "[filewords]"  # stands for the words of the file's name

LONGEST_CAPTION = 10_000  # letters: thirty of CLIP's windows of 75 tokens, of which long_captions may read several
MOST_TEMPLATES = 1_000  # in a file
MOST_CAPTIONS = 10_000  # of a picture: templates with each of its own captions in them

TEMPLATES: dict[str, tuple[str, ...]] = {
    "object": (
        "a photo of a {token}",
        "a photo of the {token}",
        "the photo of a {token}",
        "a photo of my {token}",
        "a photo of one {token}",
        "a good photo of a {token}",
        "a good photo of the {token}",
        "a bright photo of the {token}",
        "a dark photo of the {token}",
        "a close-up photo of a {token}",
        "a close-up photo of the {token}",
        "a cropped photo of a {token}",
        "a photo of a nice {token}",
        "a photo of the cool {token}",
        "a photo of a clean {token}",
        "a photo of the weird {token}",
        "a picture of a {token}",
        "an image of a {token}",
        "a rendering of a {token}",
        "a rendition of the {token}",
    ),
    "style": (
        "a painting in the style of {token}",
        "a picture in the style of {token}",
        "an image in the style of {token}",
        "a rendering in the style of {token}",
        "a rendition in the style of {token}",
        "the painting in the style of {token}",
        "a good painting in the style of {token}",
        "a bright painting in the style of {token}",
        "a dark painting in the style of {token}",
        "a close-up painting in the style of {token}",
        "a cropped painting in the style of {token}",
        "a nice painting in the style of {token}",
        "a detailed painting in the style of {token}",
    ),
    "person": (
        "a photo of {token}",
        "the photo of {token}",
        "a photograph of {token}",
        "a good photo of {token}",
        "a bright photo of {token}",
        "a dark photo of {token}",
        "a cropped photo of {token}",
        "a close-up photo of {token}",
        "a candid photo of {token}",
        "a portrait of {token}",
        "a studio portrait of {token}",
        "a picture of {token}",
        "an image of {token}",
        "a snapshot of {token}",
        "a photo of {token} outdoors",
        "a photo of {token} indoors",
    ),
}


@dataclass(frozen=True)
class CaptionPolicy:
    """What a draw changes in a caption; by default nothing. Tags are the parts between commas."""

    shuffle_tags: bool = False
    keep_tags: int = 0  # tags at the beginning that are neither shuffled nor dropped
    tag_dropout: float = 0.0  # the chance with which each other tag is left out
    caption_dropout: float = 0.0  # the chance that the token alone is the caption

    @classmethod
    def of(cls, concept: Concept) -> CaptionPolicy:
        return cls(concept.shuffle_tags, concept.keep_tags, concept.tag_dropout, concept.caption_dropout)


AS_WRITTEN = CaptionPolicy()


def draw_caption(captions: Sequence[str], policy: CaptionPolicy, draws: torch.Generator) -> str:
    """One of the captions, changed as the policy says: a function of the generator's state.

    Where the policy changes nothing, only the choice of the caption is drawn.
    """
    caption = captions[int(torch.randint(len(captions), (), generator=draws))]
    if policy.caption_dropout and float(torch.rand((), generator=draws)) < policy.caption_dropout:
        return TOKEN_FIELD
    if not (policy.shuffle_tags or policy.tag_dropout):
        return caption
    tags = split_tags(caption)
    kept = tags[: policy.keep_tags]
    loose = tags[policy.keep_tags :]
    if policy.tag_dropout:
        chances = torch.rand(len(loose), generator=draws).tolist()
        stay = [chance >= policy.tag_dropout for chance in chances]
        loose = [tag for tag, stays in zip(loose, stay, strict=True) if stays or TOKEN_FIELD in tag]
    if policy.shuffle_tags:
        loose = [loose[i] for i in torch.randperm(len(loose), generator=draws).tolist()]
    return ", ".join([*kept, *loose])


def longest_way_to_token(caption: str, policy: CaptionPolicy) -> str:
    """The text, of all that `draw_caption` can make of a caption, in which the most words come before the token."""
    if not policy.shuffle_tags:
        return caption
    tags = split_tags(caption)
    kept = tags[: policy.keep_tags]
    loose = tags[policy.keep_tags :]
    return ", ".join([*kept, *sorted(loose, key=lambda tag: TOKEN_FIELD in tag)])


def split_tags(caption: str) -> list[str]:
    return [tag.strip() for tag in caption.split(",") if tag.strip()]


def choose_captions(
    concept: Concept, own: Sequence[str], file_words: str, templates: Sequence[str], is_class: bool = False
) -> tuple[str, ...]:
    """The captions of a picture, each once, with {token} in place of the token.

    own: captions that came with the picture; file_words: the words of its file's name; templates: used for pictures of
    the class, and for others if the concept's `captions` is "templates", or is "auto" and `own` is empty. Raises
    BadInput where templates and words make too many captions, or too long ones.
    """
    source = "templates" if is_class else concept.captions
    if source == "filename":
        texts = [file_words]
    elif source == "auto" and own:
        texts = list(own)
    else:
        count = len(templates) * max(1, len(own))
        if count > MOST_CAPTIONS:
            raise BadInput(
                f"{flag('templates')} make {count:,} captions of a picture; at most {MOST_CAPTIONS:,} are read"
            )
        filled = (template.replace(WORDS_FIELD, words) for template in templates for words in own or [file_words])
        if concept.scene and not is_class:
            filled = (f"{text.strip(' ,')} {concept.scene}" for text in filled)
        texts = [checked_length(text, flag("templates")) for text in filled]
    texts = [checked_length(text.replace(WORDS_FIELD, file_words), "the file's name") for text in texts]
    captions = [name_token(text, concept.token) for text in texts]
    if concept.add_token:
        captions = [
            text if mentions(fill(text, concept.token), concept.token) else f"{TOKEN_FIELD}, {text}".strip(" ,")
            for text in captions
        ]
    return tuple(dict.fromkeys(captions))


def checked_length(caption: str, source: str) -> str:
    """The same caption; raises BadInput, naming where it comes from, if it is too long."""
    if len(caption) > LONGEST_CAPTION:
        raise BadInput(f"{source}: a caption has {len(caption):,} letters, and at most {LONGEST_CAPTION:,}; shorten it")
    return caption


def name_token(text: str, token: str) -> str:
    """A caption with {token} in place of the token and of [name], and without commas at its ends."""
    named = token_pattern([token]).sub(TOKEN_FIELD, text.replace(NAME_FIELD, TOKEN_FIELD))
    return named.strip(" ,")


def words_of_file(stem: str) -> str:
    """The words of a file's name: "03-black_cat on_sofa (2)" -> "black cat on sofa"."""
    return " ".join(re.sub(r"^\d+(?![^\W_])[\s_.-]*|\(\d+\)$", "", stem).replace("_", " ").split())


def load_templates(name: str) -> tuple[str, ...]:
    """The templates with a name of TEMPLATES, or the lines of a text file; raises BadInput for lines without {token}.

    Raises BadInput also when there is no such file, when no line is in it, and for too many or too long ones.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    if not os.path.exists(name):
        raise BadInput(
            f"{flag('templates')} is '{printable(name)}': choose {' or '.join(TEMPLATES)}, or a UTF-8 text file"
        )
    lines = [line.strip() for line in read_text(Path(name), LINES).splitlines()]
    filled = [line.replace(NAME_FIELD, TOKEN_FIELD).replace("{}", TOKEN_FIELD) for line in lines]
    for number, line in enumerate(filled, 1):
        shown = f"{printable(name)}, line {number}"
        if line and TOKEN_FIELD not in line:
            raise BadInput(f"{shown} does not say where the token goes: write {TOKEN_FIELD} there")
        checked_length(line, shown)
    templates = tuple(filter(None, filled))
    if len(templates) > MOST_TEMPLATES:
        raise BadInput(f"{printable(name)} has {len(templates):,} templates; at most {MOST_TEMPLATES:,} are read")
    if not templates:
        raise BadInput(f"{flag('templates', name)} is empty: write lines such as 'a photo of a {TOKEN_FIELD}'")
    return templates
