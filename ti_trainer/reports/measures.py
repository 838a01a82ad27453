"""What judges measure of drawn pictures: likeness to the real ones, faithfulness to the prompt, attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from ..config.bundled import JUDGE, TINY_CLIP, TINY_SD
from .judge import IDENTITY as CREATURE
from .judge import AttributeJudge, attribute_accuracy
from .prompts import Prompt
from .scorers import PADDING, ClipScorer, ImageScorer, Source

IDENTITY = "identity"
PROMPT = "prompt"
WITHOUT_NOUN = "prompt without noun"

# The judges of a model for which nobody chose others. The bundled ones know only the bundled world.
JUDGES: Mapping[str, tuple[str, ...]] = {TINY_SD: (TINY_CLIP, JUDGE)}
PUBLISHED = ("openai/clip-vit-base-patch32", "facebook/dinov2-base")

Pictures = Sequence[Image.Image]
Values = dict[str, Tensor]  # measure -> a number for each picture that it is about, float64


class Judge(Protocol):
    """A model that looks at pictures, and the real pictures that it has seen."""

    name: str  # as the user wrote it
    kind: str
    revision: str
    measures: tuple[str, ...]  # what it can measure

    def real(self) -> dict[str, float]:
        """What the measures are for the real pictures themselves, where that can be said: what is within reach."""

    def values(self, images: Pictures, prompts: Sequence[Prompt], word: str) -> Values:
        """What is measured of each picture, for the prompt with which it was drawn; word: names the subject's class."""


class Likeness:
    """Raw cosines between features.

    identity: the mean over all real pictures. prompt: with the prompt, in which the class stands for the token; of CLIP
    these two are CLIP-I and CLIP-T (Gal et al. 2022, section 5). prompt without noun: with what else was asked for; a
    prompt in which nothing else was has no number.
    """

    def __init__(self, source: Source, references: Pictures, scorer: type[ImageScorer]) -> None:
        self.scorer = scorer(source)
        self.name = source.name
        self.kind = self.scorer.kind
        self.revision = source.revision(self.scorer.model)
        self.reader = self.scorer if isinstance(self.scorer, ClipScorer) else None
        self.measures: tuple[str, ...] = (IDENTITY, PROMPT, WITHOUT_NOUN) if self.reader else (IDENTITY,)
        self.references = self.scorer.image_features(references).double()  # (R, P)

    def real(self) -> dict[str, float]:
        """Real pictures with each other, each with all but itself."""
        count = len(self.references)
        if count < 2:
            return {}
        pairs = self.references @ self.references.T  # (R, R)
        return {IDENTITY: ((pairs.sum() - pairs.trace()) / (count * (count - 1))).item()}

    def values(self, images: Pictures, prompts: Sequence[Prompt], word: str) -> Values:
        drawn = self.scorer.image_features(images).double()  # (B, P)
        values = {IDENTITY: (drawn @ self.references.T).mean(1)}  # (B,)
        if self.reader:
            values[PROMPT] = cosines(drawn, self.reader, [prompt.of(word) for prompt in prompts])
            rest = [i for i, prompt in enumerate(prompts) if prompt.without_subject]
            if rest:
                texts = [prompts[i].without_subject for i in rest]
                values[WITHOUT_NOUN] = cosines(drawn[rest], self.reader, texts)
        return values


def cosines(features: Tensor, scorer: ClipScorer, texts: Sequence[str]) -> Tensor:
    """Between pictures' features (B, P) and their own texts, (B,)."""
    distinct = list(dict.fromkeys(texts))
    told = scorer.text_features(distinct).double()[[distinct.index(text) for text in texts]]  # (B, P)
    return (features * told).sum(1)


class Attributes:
    """Whether each picture shows the attributes that most real ones have, and the scene that was asked for."""

    kind = "attributes"
    measures: tuple[str, ...] = (*CREATURE, "attributes", "scene")

    def __init__(self, source: Source, references: Pictures) -> None:
        with source.explained():
            self.judge = AttributeJudge(source.place, **source.how)
        self.name = source.name
        self.revision = source.revision(self.judge.model)
        self.seen = self.judge(references)

    def real(self) -> dict[str, float]:
        figures = attribute_accuracy(self.seen, self.seen, [None] * len(self.seen))
        del figures["scene"]
        return figures

    def values(self, images: Pictures, prompts: Sequence[Prompt], word: str) -> Values:
        scenes = [prompt.scene for prompt in prompts]
        shares = [
            attribute_accuracy([answer], self.seen, [scene])
            for answer, scene in zip(self.judge(images), scenes, strict=True)
        ]
        values = {name: torch.tensor([own[name] for own in shares], dtype=torch.float64) for name in shares[0]}
        asked = [i for i, scene in enumerate(scenes) if scene]
        values["scene"] = values["scene"][asked]
        return {name: each for name, each in values.items() if len(each)}


@dataclass(frozen=True)
class Kind:
    """A kind of judge, and how it is told from a model's config.json."""

    fits: Callable[[Any], bool]
    open: Callable[[Source, Pictures], Judge]


def tells_attributes(config: Any) -> bool:
    """Whether a classifier's labels are values of the attributes that the bundled world's creatures have."""
    return {label.partition(":")[0] for label in config.id2label.values()} >= {*CREATURE, "scene"}


# the first that fits
KINDS = (
    Kind(tells_attributes, Attributes),
    Kind(lambda config: config.model_type in PADDING, partial(Likeness, scorer=ClipScorer)),
    Kind(lambda config: True, partial(Likeness, scorer=ImageScorer)),
)


def open_judge(source: Source, references: Pictures) -> Judge:
    """The judge in a folder or on the hub, which looks at the references; raises BadInput."""
    config = source.config()
    return next(kind for kind in KINDS if kind.fits(config)).open(source, references)
