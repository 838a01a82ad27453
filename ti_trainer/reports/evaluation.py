"""How good an embedding is: likeness to its pictures and faithfulness to prompts, beside what it should beat."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from tqdm.auto import tqdm

from ..config.bundled import TINY_SD
from ..config.concept import Concept
from ..config.config import TrainConfig
from ..config.fields import settings_of
from ..config.model import ModelConfig
from ..embedding_files import read_embedding
from ..errors import BadInput
from ..families import Family, load_with_embeddings
from ..files.wording import flag
from ..method.bootstrap import mean_intervals
from .arms import Arm, Subject, checkpoint_arms, class_arm, embedding_arm, read_subject
from .measures import IDENTITY, JUDGES, PROMPT, PUBLISHED, Judge, Values, open_judge
from .previews import generate
from .prompts import SCENE_PROMPTS, Prompt, class_word, read_prompts
from .references import find_references, read_references
from .scorers import Source

# What the best checkpoint has most of -> the measures whose product that is.
BEST = {"identity": (IDENTITY,), "prompt": (PROMPT,), "both": (IDENTITY, PROMPT)}


@dataclass(frozen=True)
class Drawing:
    """How every arm's pictures are drawn: each prompt from each seed, so that arms differ in nothing but their rows."""

    model: str  # its name
    prompts: Sequence[Prompt]
    word: str  # the class of the subject
    seeds: Sequence[int]
    steps: int
    guidance: float

    def pictures(self, family: Family, arm: Arm) -> Iterator[list[Image.Image]]:
        """A picture for each prompt, seed after seed."""
        for seed in self.seeds:
            texts = [prompt.of(arm.word) for prompt in self.prompts]
            yield generate(family, texts, seed, self.steps, self.guidance, owner=arm.owner)


@dataclass(frozen=True)
class Evaluation:
    """What was measured; the first arm is what others are compared with."""

    drawing: Drawing
    references: Sequence[Image.Image]
    masked: int  # of the references
    judges: Sequence[Judge]
    arms: Sequence[Arm]
    values: Mapping[str, Sequence[Values]]  # arm -> for each judge the measures of its pictures
    shown: Mapping[str, Sequence[Image.Image]]  # arm -> its pictures of the first seed

    def measures(self) -> Iterator[tuple[int, str]]:
        """Each measure as the number of its judge and its name."""
        for number, own in enumerate(self.values[self.arms[0].name]):
            yield from ((number, name) for name in own)

    def mean(self, arm: Arm, judge: int, measure: str) -> float:
        return self.values[arm.name][judge][measure].mean().item()

    def differences(self, others: Sequence[Arm], judge: int, measure: str) -> list[tuple[float, float, float]]:
        """How much more the first arm has than others: for each the mean, and the ends of its interval.

        Pictures of the same prompt and seed are compared with each other.
        """
        own = self.values[self.arms[0].name][judge][measure]
        apart = torch.stack([own - self.values[other.name][judge][measure] for other in others], dim=1)  # (N, others)
        ends = mean_intervals(apart, self.drawing.seeds[0])
        return [(mean.item(), low.item(), high.item()) for mean, low, high in zip(apart.mean(0), *ends, strict=True)]


def evaluate(
    family: Family,
    drawing: Drawing,
    arms: Sequence[Arm],
    references: Sequence[Image.Image],
    judges: Sequence[Judge],
    masked: int = 0,
    progress: Callable[[int], object] = lambda count: None,
) -> Evaluation:
    """Draw the pictures of every arm and let the judges, which have seen the references, measure them.

    progress: is told how many pictures have been drawn since the last time.
    """
    values: dict[str, list[Values]] = {}
    shown: dict[str, list[Image.Image]] = {}
    for arm in arms:
        measured: list[list[Values]] = []
        for images in drawing.pictures(family, arm):
            shown.setdefault(arm.name, images)
            measured.append([judge.values(images, drawing.prompts, drawing.word) for judge in judges])
            progress(len(images))
        values[arm.name] = [join(of_one_judge) for of_one_judge in zip(*measured, strict=True)]
    return Evaluation(drawing, references, masked, judges, arms, values, shown)


def join(parts: Sequence[Values]) -> Values:
    """The values of several batches of pictures, one after the other."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def choose_checkpoint(evaluation: Evaluation, best: str) -> tuple[Arm, str]:
    """The checkpoint that has most of a key of BEST, and by what it was chosen; of equal ones the first."""
    judged = judges_of_best(evaluation.judges, best)
    steps = [arm for arm in evaluation.arms if arm.step is not None]
    chosen = max(steps, key=lambda arm: score(evaluation, arm, judged))
    return chosen, " x ".join(f"{measure} ({evaluation.judges[judge].name})" for judge, measure in judged)


def judges_of_best(judges: Sequence[Judge], best: str) -> list[tuple[int, str]]:
    """For each measure of a key of BEST the first judge that has it; raises BadInput where none has."""
    found = []
    for measure in BEST[best]:
        having = [number for number, judge in enumerate(judges) if measure in judge.measures]
        if not having:
            cure = f"add {flag('judge', PUBLISHED[0])}"
            raise BadInput(f"{flag('best', best)} needs a judge that measures {measure}: {cure}")
        found.append((having[0], measure))
    return found


def score(evaluation: Evaluation, arm: Arm, judged: Sequence[tuple[int, str]]) -> float:
    """The product of an arm's measures: a tenth more of one makes up for a tenth less of another."""
    return math.prod(max(0.0, evaluation.mean(arm, judge, measure)) for judge, measure in judged)


def evaluate_file(
    embedding: str,
    settings: Mapping[str, Any],
    against: Sequence[str] = (),
    judge: Sequence[str] = (),
    prompts: Sequence[str] = (),
    prompt_list: str | None = None,
    word: str | None = None,
    seeds: int = 4,
    seed: int = 0,
    steps: int = TrainConfig.preview_steps,
    guidance: float = TrainConfig.guidance,
    checkpoints: bool = False,
    best: str = "both",
) -> tuple[Subject, Evaluation]:
    """`evaluate` an embedding file or a run beside its class word, others (`against`) and the run's checkpoints.

    settings: of Concept and ModelConfig, by name; a run has its own, which these override. judge: folders and hub ids,
    by default JUDGES of the model or the PUBLISHED ones; prompts, prompt_list: as in `read_prompts`; word: the class,
    by default the last word of the token; seeds: how many, from `seed` on; best: a key of BEST. Raises BadInput before
    the first picture is drawn.
    """
    subject = read_subject(embedding)
    others = {name: read_embedding(name) for name in against}
    for each in (subject.embedding, *others.values()):
        if each.is_negative:
            raise BadInput(
                f"'{each.token}' is for the negative prompt, and here tokens stand in the prompt; look at it with "
                "ti-trainer preview"
            )
    model, concept = settings_of_subject(subject, settings)
    chosen = read_prompts(prompts, prompt_list)
    examples = find_references(concept)
    family = load_with_embeddings(model, [])
    arms = [embedding_arm(family, subject.embedding, subject.embedding.token)]
    arms.append(class_arm(word or class_word(subject.embedding.token)))
    arms += [embedding_arm(family, other, name) for name, other in others.items()]
    arms += checkpoint_arms(family, subject) if checkpoints else []
    references = read_references(examples, concept.alpha_color, family.spec.resolution)
    names = dict.fromkeys(judge or JUDGES.get(model.model, PUBLISHED))
    judges = [open_judge(Source(name, model.cache_dir, model.offline), references) for name in names]
    if checkpoints:
        judges_of_best(judges, best)
    drawing = Drawing(model.model, chosen, arms[1].word, range(seed, seed + seeds), steps, guidance)
    masked = sum(example.mask is not None for example in examples)
    pictures = len(arms) * len(chosen) * seeds
    with tqdm(total=pictures, desc="pictures", leave=False, disable=None) as bar:
        return subject, evaluate(family, drawing, arms, references, judges, masked, bar.update)


def settings_of_subject(subject: Subject, given: Mapping[str, Any]) -> tuple[ModelConfig, Concept]:
    """The model to draw with, and the concept for its pictures: those of the run, with the settings that are given.

    Raises BadInput where nothing says which pictures belong to a model that is not the bundled one.
    """
    run = subject.config
    of_model = {name: getattr(run, name) for name in settings_of(ModelConfig)} if run else {}
    model = ModelConfig(**{**of_model, **{name: given[name] for name in settings_of(ModelConfig) if name in given}})
    if not run and "images" not in given and model.model != TINY_SD:
        raise BadInput(f"there is nothing to compare with: give the concept's pictures, {flag('images', 'DIR')}")
    concept = run.concept if run else Concept(f"<{subject.embedding.stem}>")
    return model, replace(concept, **{name: given[name] for name in settings_of(Concept) if name in given})


def draw_in_scenes(
    family: Family,
    words: str,
    count: int,
    seed: int,
    steps: int = TrainConfig.preview_steps,
    guidance: float = TrainConfig.guidance,
) -> tuple[list[str], list[str | None], list[Image.Image]]:
    """Draw `count` pictures of WORDS, each with the next of SCENE_PROMPTS.

    Returns the prompts, the scenes that are asked for (None: any), and the pictures.
    """
    asked = [SCENE_PROMPTS[i % len(SCENE_PROMPTS)] for i in range(count)]
    prompts = [prompt.of(words) for prompt in asked]
    return prompts, [prompt.scene for prompt in asked], generate(family, prompts, seed, steps, guidance)
