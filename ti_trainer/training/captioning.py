"""Captions for pictures that have none: the token, and what else a picture shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from ..config.bundled import resolve
from ..config.config import TrainConfig
from ..data.examples import Example
from ..data.geometry import Framing
from ..data.images import read_image
from ..data.latents import ViewEncoder, views_of
from ..data.scanning import look_at_all
from ..data.sidecars import find_sidecars, write_sidecar
from ..data.sources.folders import Found
from ..errors import BadInput
from ..families import fastest_device, load_family
from ..files.wording import flag, listing, printable, shorten
from ..method.phrases import with_article
from ..method.scenes import SCENES, known_phrases, least_loss
from ..method.sentences import name_subject
from ..method.vocabulary import Vocabulary
from ..reports.captioner import Captioner
from ..reports.clip_choice import ClipChoice
from ..reports.prompts import class_word
from ..reports.scorers import ClipScorer
from . import preflight
from .gathering import open_cache, reading
from .suggestion import read_words
from .word_losses import CAPTION, WordLosses

# Between which parts of the schedule the model is asked: in less noise it sees the scene without words.
NOISY = (0.5, 1.0)

Caption = Callable[[Example], str]
# A picture and texts -> the number of the one that fits best. The first has no phrase, and wins where none fits.
Choose = Callable[[Example, Sequence[str]], int]


@dataclass(frozen=True)
class Captioning:
    """How captions are found: by an image-to-text model; else by phrases, which a CLIP or the frozen model chooses."""

    subject: str | None = None  # what it is, such as "cat, kitten"; None: the last word of the token
    captioner: str | None = None  # a folder or hub id
    clip: str | None = None  # a folder or hub id
    phrases: str | None = None  # a file; None: those of SCENES that the model knows

    def __post_init__(self) -> None:
        spare = [name for name in ("clip", "phrases") if getattr(self, name)]
        if self.captioner and spare:
            raise BadInput(
                f"{flag('captioner')} writes sentences of its own, without {flag(spare[0])}; leave out one of them"
            )

    def names(self, token: str) -> list[str]:
        """What the subject may be called; raises BadInput where that is nothing."""
        names = [" ".join(name.split()) for name in (self.subject or class_word(token)).split(",")]
        if not any(names):
            raise BadInput(f"{flag('subject', self.subject)} names nothing; write what the pictures show, such as cat")
        return [name for name in names if name]


def write_captions(config: TrainConfig, how: Captioning, is_trial: bool, say: Callable[[str], object]) -> None:
    """Write a caption file beside each picture of a concept that has no caption, and say a line about each.

    is_trial: only say what would be written. What is written stays when the rest is stopped, and a further call goes on
    with the rest. Raises BadInput, before anything is written, where pictures, phrases or model are not as they should
    be.
    """
    names = how.names(config.concept.token)
    phrases = read_words(how.phrases) if how.phrases else None
    sidecars = find_sidecars(list(map(resolve, config.concept.images)), config.concept)
    for note in sidecars.notes:
        say(note)
    if sidecars.present:
        say(f"left alone, for they have captions: {listing(sidecars.present)}")
    examples = examples_of(sidecars.missing, config, say)
    count = 0
    if examples:
        caption = caption_with(config, how, names, phrases)
        for path, example in tqdm(examples.items(), desc="captions", unit="picture", leave=False, disable=None):
            text = caption(example)
            is_new = is_trial or write_sidecar(path, text)
            say(f"{printable(path)}: {text}" if is_new else f"left alone, it is there by now: {printable(path)}")
            count += is_new
    say(f"{count} caption{'' if count == 1 else 's'} {'would be ' if is_trial else ''}written")


def examples_of(missing: dict[Path, Found], config: TrainConfig, say: Callable[[str], object]) -> dict[Path, Example]:
    """The pictures that get captions, by the files of these, every one decoded; raises BadInput as training does."""
    looks = look_at_all(list(missing.values()), replace(config.concept, masks="none"), {}, reading)
    bad = [look for look in looks if isinstance(look, str)]
    if bad and not config.skip_bad_images:
        raise BadInput("\n".join([*shorten(bad), f"mend or remove it, or add {flag('skip_bad_images', True)}"]))
    for line in shorten([f"left out: {problem}" for problem in bad]):
        say(line)
    return {path: look.example for path, look in zip(missing, looks, strict=True) if not isinstance(look, str)}


def caption_with(config: TrainConfig, how: Captioning, names: Sequence[str], phrases: list[str] | None) -> Caption:
    """What gives a picture its caption, with its model loaded; phrases: None for those of SCENES that it knows."""
    token = config.concept.token
    if how.captioner:
        captioner = Captioner(how.captioner)
        return lambda example: name_subject(captioner(shown(example, config)), names, token)
    vocabulary, chooser = by_clip(config, how.clip) if how.clip else by_loss(config)
    told = known_phrases(vocabulary, SCENES) if phrases is None else phrases
    if not told:
        raise BadInput(f"the model knows none of our phrases; list some in a file: {flag('phrases', 'FILE')}")
    texts = [names[0], *(f"{names[0]} {phrase}" for phrase in told)]
    captions = [CAPTION.format(token), *(f"{CAPTION.format(token)} {phrase}" for phrase in told)]
    return lambda example: captions[chooser(example, texts)]


def by_clip(config: TrainConfig, clip: str) -> tuple[Vocabulary, Choose]:
    """A CLIP's words, and what chooses the text that lies nearest to a picture."""
    choice = ClipChoice(ClipScorer(clip))

    def choose(example: Example, texts: Sequence[str]) -> int:
        return choice.choose(shown(example, config), [CAPTION.format(with_article(text)) for text in texts])

    return choice, choose


def by_loss(config: TrainConfig) -> tuple[Vocabulary, Choose]:
    """The frozen model's words, and what chooses the text with which it errs least on a picture."""
    device = fastest_device()
    family = load_family(config, device, torch.float16 if device.type == "cuda" else torch.float32)
    resolution = preflight.check_resolution(config, family)
    framing = Framing(resolution, alpha_color=config.concept.alpha_color, seed=config.seed)
    encoder = ViewEncoder(family, config.concept.alpha_color, open_cache(config, family))

    def choose(example: Example, texts: Sequence[str]) -> int:
        ((view,),) = views_of([example], config.concept.token, framing, 1.0, encoder)
        view.encode()
        return least_loss(WordLosses(family, [view], config.seed, levels=NOISY), texts)

    return family.slots[0], choose


def shown(example: Example, config: TrainConfig) -> Image.Image:
    return read_image(example.picture, config.concept.alpha_color)
