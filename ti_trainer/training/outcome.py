"""What has become of a concept's rows, in words: how long they are, how far they have turned, what they are near."""

from __future__ import annotations

from ..files.wording import flag
from ..method.lengths import length_ratio, turned
from ..method.nearest import nearest_words
from ..method.optimizers import parse_optimizer
from .learner import Learner

NEAREST = 3  # words that are shown for each row
LEAST_TURN = 1.0  # degrees below which rows have not moved

# From how many times a word's length on it is told, the longest first. The reason is Directional Textual Inversion
# (2025, arXiv 2512.13672): in SDXL's text encoders rows of 2, 4 and 8 times a word's length leave .85, .1 to .3 and .05
# of what can be read of a token's position after the first layers.
TOO_LONG = {
    4.0: "prompts around it will be ignored",
    2.0: "the text encoder begins to lose the order of the words around it",
    1.5: "longer rows drown the words around them",
}


def describe_rows(learner: Learner) -> list[str]:
    """Lines about the best rows: their length and angle, and the nearest words of each row of each text encoder."""
    rows = learner.best_rows
    ratio = length_ratio(rows, learner.words).item()
    angle = turned(rows, learner.initial).mean().item()
    lines = [f"  {'rows:':13} {ratio:.2f} times as long as a word, {angle:.0f} degrees from their start"]
    slots = learner.session.family.slots
    for slot in slots:
        name = f" of {slot.name}" if len(slots) > 1 else ""
        for number, near in enumerate(nearest_words(rows[slot.name], slot, NEAREST), start=1):
            words = ", ".join(f"{word} {cosine:.2f}" for word, cosine in near)
            lines.append(f"  {'':13} row {number}{name} is near {words}")
    return lines


def why_ended(learner: Learner) -> str | None:
    """Why a run has ended before its last step, if it has."""
    config = learner.config
    if learner.step >= config.steps:
        return None
    return (
        f"stopped after {learner.step} of {config.steps} steps, because {config.early_stop} measurements in a row "
        f"brought little; {flag('early_stop', 0)} goes on"
    )


def warnings_of(learner: Learner) -> list[str]:
    """A line where the best rows are much longer than a word, and one where no row has turned."""
    rows = learner.best_rows
    lines = []
    ratio = length_ratio(rows, learner.words).item()
    reason = next((reason for limit, reason in TOO_LONG.items() if ratio >= limit), None)
    if reason:
        lines.append(f"the rows are {ratio:.1f} times as long as a word: {reason}; {cure_for_length(learner, ratio)}")
    if turned(rows, learner.initial).max() < LEAST_TURN:
        lines.append(no_turn(learner))
    return lines


def cure_for_length(learner: Learner, ratio: float) -> str:
    """What makes the rows as long as a word; ratio: how many times as long they are."""
    _, settings = parse_optimizer(learner.config.optimizer)
    if "length" in settings:
        wanted = f"sphere:length={settings['length'] / ratio:.2g}"
        return f"{flag('optimizer', wanted)} makes them as long as one"
    return (
        f"{flag('optimizer', 'sphere')} keeps the length they start with, and fewer {flag('steps')} or a lower "
        f"{flag('lr')} leave them shorter"
    )


def no_turn(learner: Learner) -> str:
    """Why the best rows are those of the start, or nearly, and what helps."""
    still = turned(learner.snapshot(), learner.initial).max() < LEAST_TURN
    if still:
        return (
            f"the rows have not moved from their start: nothing was learned; take a higher {flag('lr')} than "
            f"{learner.config.lr:g} or more {flag('steps')}"
        )
    return (
        f"the saved rows are those of the start, because the fixed-noise loss did not fall below theirs: the words say "
        f"it all, or more {flag('steps')} or a lower {flag('lr')} than {learner.config.lr:g} find more"
    )
