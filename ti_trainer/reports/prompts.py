"""The prompts with which embeddings are evaluated, and the texts with which their pictures are compared."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.captions import NAME_FIELD
from ..errors import BadInput
from ..files.reading import LINES
from ..files.text import read_text
from ..files.wording import flag, printable
from ..method.tokens import TOKEN_FIELD, fill

# what is drawn when nobody says otherwise; {token} is the concept's token
PROMPTS = {
    "object": (
        "a photo of a {token}",
        "a photo of a {token} on the beach",
        "a painting of a {token} on grass",
        "a photo of a {token} in the snow",
        "a photo of a {token} at night",
    ),
    "style": (
        "a house in the style of {token}",
        "a cat in the style of {token}",
        "a boat on the beach in the style of {token}",
        "a flower in the style of {token}",
        "a tree at night in the style of {token}",
    ),
}
# and where the token goes into the negative prompt
PLAIN_PROMPTS = (
    "a photo of a cat",
    "a photo of a house on the beach",
    "a painting of a boat on grass",
    "a photo of a flower in the snow",
    "a photo of a tree at night",
)

# what the default prompts ask for -> the scene in which the bundled world's judge should see the picture; None: any
SCENES = {
    "": None,
    "on grass": "grass",
    "in the snow": "snow",
    "at night": "night",
    "on the beach": "beach",
    "at sunset": "sunset",
}
# a line of DreamBench's lists (Ruiz et al. 2023): 'a {0} {1} in the snow'.format(unique_token, class_token)
LISTED = re.compile(r"""['"](?P<prompt>.+)['"]\.format\(""")
HEADING = re.compile(r"(?P<name>\w+).* Prompts")  # of such a list: "Live Subject Prompts" is called "live"
# The subject with what only leads to it: "a photo of a {token} at night" -> "a photo at night"
SUBJECT = re.compile(rf"\s*(?:\bof )?(?:\b(?:a|an|the|my|one) )?{re.escape(TOKEN_FIELD)}", re.IGNORECASE)


@dataclass(frozen=True)
class Prompt:
    """What is asked for; {token} stands for the subject."""

    template: str
    scene: str | None = None  # a label of the bundled world's judge; None: any scene is right

    def of(self, word: str) -> str:
        """The prompt with a word for the subject."""
        return fill(self.template, word)

    @property
    def without_subject(self) -> str:
        """The prompt without its subject: all else that was asked for, or ""."""
        return " ".join(SUBJECT.sub("", self.template).split()).strip(" ,")


SCENE_PROMPTS = tuple(Prompt(f"a photo of a {TOKEN_FIELD} {words}".strip(), label) for words, label in SCENES.items())


def class_word(token: str) -> str:
    """The last word of a token: "<my-cat>" -> "cat"."""
    words = re.findall(r"[a-z]+", token)
    return words[-1] if words else token


def read_prompts(names: Sequence[str], chosen: str | None = None) -> tuple[Prompt, ...]:
    """Prompts with {token} in them; without any names, SCENE_PROMPTS. names and chosen: as in `read_templates`.

    Raises BadInput where there are no prompts, or no place for the token in one.
    """
    if not names:
        return SCENE_PROMPTS
    templates = read_templates(names, chosen)
    for template in templates:
        if TOKEN_FIELD not in template:
            raise BadInput(
                f"{flag('prompts')} has '{printable(template)}', without the token: write {TOKEN_FIELD} where it goes"
            )
    return tuple(map(Prompt, templates))


def read_templates(names: Sequence[str], chosen: str | None = None) -> tuple[str, ...]:
    """Prompts, perhaps with {token} in them, each once.

    names: each is a prompt, a key of PROMPTS, or a file with prompts in lines or as DreamBench lists them. DreamBench
    has {0} for the token and {1} for its class; the class is left out, because it would show a subject where the token
    shows none. chosen: which list, of a file with several: "object" or "live". Raises BadInput for a file that is
    empty, not there or cannot be read.
    """
    found: dict[str, None] = {}
    for name in names:
        if name in PROMPTS:
            found |= dict.fromkeys(PROMPTS[name])
        elif is_file(name):
            found |= dict.fromkeys(read_file(name, chosen))
        elif name.strip():
            found[with_field(name)] = None
    return tuple(found)


def is_file(name: str) -> bool:
    """Whether a text names a file of prompts and is none itself; raises BadInput for one that is not there."""
    if TOKEN_FIELD not in name and os.path.isfile(name):
        return True
    if Path(name).suffix == ".txt":
        raise BadInput(
            f"{flag('prompts')} names '{printable(name)}', which is not there; write prompts, or give a text file"
        )
    return False


def with_field(prompt: str) -> str:
    """A prompt with TOKEN_FIELD for other ways of writing it."""
    return " ".join(prompt.replace(NAME_FIELD, TOKEN_FIELD).replace("{}", TOKEN_FIELD).split())


def read_file(name: str, chosen: str | None) -> list[str]:
    """The prompts of a file, as in `read_templates`."""
    lines = [line.strip() for line in read_text(Path(name), LINES).splitlines()]
    lists = dreambench_lists(lines)
    templates = choose_list(lists, name, chosen) if lists else [with_field(line) for line in lines if line]
    if not templates:
        raise BadInput(f"{flag('prompts', name)} is empty: write lines such as 'a photo of a {TOKEN_FIELD} at night'")
    return templates


def dreambench_lists(lines: Sequence[str]) -> dict[str, list[str]]:
    """The lists of prompts in DreamBench's layout, by the first word of their headings; none in another layout."""
    lists: dict[str, list[str]] = {}
    heading = ""
    for line in lines:
        heading = match["name"].lower() if (match := HEADING.fullmatch(line)) else heading
        if match := LISTED.match(line):
            template = match["prompt"].replace("{0}", TOKEN_FIELD).replace("{1}", "")
            lists.setdefault(heading, []).append(" ".join(template.split()))
    return lists


def choose_list(lists: dict[str, list[str]], name: str, chosen: str | None) -> list[str]:
    """The only list of a file, or the one that was chosen; raises BadInput where that is none."""
    if chosen is None and len(lists) == 1:
        return next(iter(lists.values()))
    if chosen not in lists:
        raise BadInput(f"{name} has prompts for {' and '.join(lists)}: choose one with {flag('prompt_list')}")
    return lists[chosen]
