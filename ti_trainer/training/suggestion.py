"""From pictures to the words that best start their concept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from ..config.config import TrainConfig
from ..data.geometry import Framing
from ..data.images import read_image
from ..data.latents import CachedView, ViewEncoder, views_of
from ..data.scanning import load_examples
from ..errors import BadInput
from ..families import Family, fastest_device, load_family
from ..files.reading import LINES
from ..files.text import read_text
from ..files.wording import flag, printable
from ..method.phrases import Phrase
from ..method.scenes import SCENES, known_phrases
from ..method.suggest import Step, search, shorten
from ..method.vocabulary import word_ids
from ..method.word_list import DESCRIBING_WORDS, LESSER_NAMES, candidate_words
from ..reports.scorers import ClipScorer
from ..reports.word_scores import score_words, shortlist
from . import preflight
from .gathering import Gathered, open_cache, reading, with_local_pictures
from .word_losses import WordLosses

PASSES = 8000  # at most, of a search that training asks for
# Of those that a CLIP ranks: all words for a creature's thing, look and part were among the first 12 of 45 creatures.
MOST_WORDS = 16


@dataclass(frozen=True)
class Suggestion:
    """The words that were found, and what finding them took."""

    steps: tuple[Step, ...]
    pictures: int
    words: int  # candidates
    seconds: float  # of the search alone
    stop: KeyboardInterrupt | None = None  # what ended it early

    @property
    def phrase(self) -> Phrase:
        return self.steps[-1].phrase

    @property
    def passes(self) -> int:
        return self.steps[-1].passes


def suggest(config: TrainConfig, words_file: str | None, budget: int) -> Suggestion:
    """Search for the words of a concept's pictures; Ctrl-C ends the search with what it has found.

    words_file: candidates, one in a line; by default those of `candidate_words`. Raises BadInput where pictures, words
    or model are not as they should be, or where the budget does not suffice for a first word.
    """
    listed = read_words(words_file) if words_file else None
    device = fastest_device()
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    seen = look_at_pictures(config, partial(load_family, config, device, dtype))
    seen.family.put_away_vae()
    return find_words(
        seen.family, seen.views, candidates(seen, config.clip, listed), scenes(seen, config), budget, config.seed
    )


def find_init(
    config: TrainConfig, load: Callable[[], Family], ahead: Gathered | None = None
) -> tuple[TrainConfig, Suggestion]:
    """A config whose `init` are the words of its pictures, as many as `num_vectors` rows can start from; all of them.

    load: what gives the model, which is asked only when the pictures are good; ahead: what was gathered for this config
    already. The same config gives the same words. Raises BadInput as `suggest` does.
    """
    seen = look_at_pictures(config, load, ahead)
    family = seen.family
    found = find_words(family, seen.views, candidates(seen, config.clip), scenes(seen, config), PASSES, config.seed)
    if found.stop:
        raise found.stop
    concept = config.concept
    rows = concept.num_vectors
    phrase = found.phrase
    if rows is not None:
        losses = WordLosses(family, seen.views, config.seed)
        phrase = shorten(losses, phrase, lambda each: count_tokens(family, each) <= rows)
    scene = phrase.scene if concept.scene is None else concept.scene
    return replace(config, concept=replace(concept, init=phrase.subject, scene=scene)), found


def count_tokens(family: Family, phrase: Phrase) -> int:
    """The tokens of a phrase's subject, in the text encoder to which it has most."""
    return max(len(word_ids(slot.tokenizer, phrase.subject)) for slot in family.slots)


@dataclass(frozen=True)
class Seen:
    """What a search looks at: the model, the first view of each picture, encoded, and for a CLIP the pictures."""

    family: Family
    views: list[CachedView]
    images: list[Image.Image]  # none where no CLIP looks


def look_at_pictures(config: TrainConfig, load: Callable[[], Family], ahead: Gathered | None = None) -> Seen:
    """A concept's own pictures as a search needs them; ahead: as in `find_init`. Raises BadInput as `prepare` does."""
    concept = config.concept
    with ExitStack() as scratch:
        if ahead:
            examples = ahead.examples
        else:
            local, copies = with_local_pictures(concept)
            scratch.enter_context(copies or nullcontext())
            examples, _ = load_examples(local, config.skip_bad_images, reading)
        family = load()
        resolution = preflight.check_resolution(config, family)
        framing = Framing(resolution, crop=config.crop, alpha_color=concept.alpha_color, seed=config.seed)
        encoder = ViewEncoder(family, concept.alpha_color, open_cache(config, family))
        shown = views_of(examples, concept.token, framing, config.mask_background, encoder)
        views = [view for example, (view, *_) in zip(examples, shown, strict=True) if not example.is_class]
        for view in tqdm(views, desc="encoding pictures", leave=False, disable=None):
            view.encode()
        own = [example.picture for example in examples if not example.is_class]
        return Seen(family, views, [read_image(each, concept.alpha_color) for each in own] if config.clip else [])


def candidates(seen: Seen, clip: str | None, listed: list[str] | None = None) -> list[str]:
    """The words to be tried, by default those of `candidate_words`; with a CLIP the MOST_WORDS that it ranks highest.

    Raises BadInput where the CLIP cannot be loaded.
    """
    words = candidate_words(seen.family.slots[0]) if listed is None else listed
    if clip is None:
        return words
    return shortlist(score_words(ClipScorer(clip), seen.images, words), MOST_WORDS, DESCRIBING_WORDS)


def scenes(seen: Seen, config: TrainConfig) -> list[str]:
    """Where the thing may be in all pictures: what the user says, else those of SCENES that the model knows."""
    concept = config.concept
    if concept.seeks_scene:
        return known_phrases(seen.family.slots[0], SCENES)
    return [concept.scene] if concept.scene else []


def read_words(path: str) -> list[str]:
    """The lines of a file of candidate words that are not blank; raises BadInput where there is none."""
    words = [" ".join(line.split()) for line in read_text(Path(path), LINES).splitlines()]
    words = [word for word in dict.fromkeys(words) if word]
    if not words:
        raise BadInput(f"{printable(path)} has no words: write one in each line")
    return words


def find_words(
    family: Family, views: Sequence[CachedView], words: Sequence[str], scenes: Sequence[str], budget: int, seed: int
) -> Suggestion:
    """Search among candidate words and scenes with a progress bar; the same arguments give the same words.

    Raises BadInput where there are no words, or where the budget does not suffice for a first one.
    """
    if not words:
        raise BadInput(f"the model knows none of our words; list some in a file and give it as {flag('words', 'FILE')}")
    started = time.perf_counter()
    steps: list[Step] = []
    stop = None
    with tqdm(total=budget, desc="words", unit="pass", leave=False, disable=None) as bar:
        losses = WordLosses(family, views, seed, passed=bar.update)
        try:
            for step in search(losses, words, budget, DESCRIBING_WORDS, LESSER_NAMES, scenes):
                steps.append(step)
                bar.set_description(step.phrase.text)
        except KeyboardInterrupt as signal:
            stop = signal
    if stop and not steps:
        raise stop
    if not steps:
        raise BadInput(
            f"{flag('passes', budget)} do not suffice to compare {len(words)} words; give more of them, or fewer "
            f"words ({flag('words', 'FILE')})"
        )
    return Suggestion(tuple(steps), len(views), len(words), time.perf_counter() - started, stop)
