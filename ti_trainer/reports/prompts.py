"""The prompts with which embeddings are evaluated, and the texts with which their pictures are compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.captions import NAME_FIELD
from ..errors import BadInput
from ..files.reading import LINES
from ..files.text import read_text
from ..files.wording import flag
from ..method.tokens import TOKEN_FIELD, fill
from .previews import PROMPTS

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


def read_prompts(name: str | None, chosen: str | None = None) -> tuple[Prompt, ...]:
    """Prompts of our own, or those of a file: in lines with {token}, or as DreamBench lists them.

    name: a key of PROMPTS, a file, or None for SCENE_PROMPTS. DreamBench has {0} for the token and {1} for its class;
    the class is left out, because it would show a subject where the token shows none. chosen: which list, of a file
    with several: "object" or "live". Raises BadInput where there are no prompts, or no place for the token in one.
    """
    if name is None:
        return SCENE_PROMPTS
    if name in PROMPTS:
        return tuple(map(Prompt, PROMPTS[name]))
    if not Path(name).is_file():
        raise BadInput(f"{flag('prompts')} is '{name}': choose {' or '.join(PROMPTS)}, or a UTF-8 text file")
    lines = [line.strip() for line in read_text(Path(name), LINES).splitlines()]
    lists = dreambench_lists(lines)
    if lists:
        templates = choose_list(lists, name, chosen)
    else:
        templates = [line.replace(NAME_FIELD, TOKEN_FIELD).replace("{}", TOKEN_FIELD) for line in lines if line]
    for template in templates:
        if TOKEN_FIELD not in template:
            raise BadInput(f"'{template}' in {name} does not say where the token goes: write {TOKEN_FIELD} there")
    if not templates:
        raise BadInput(f"{flag('prompts', name)} is empty: write lines such as 'a photo of a {TOKEN_FIELD} at night'")
    return tuple(map(Prompt, dict.fromkeys(templates)))


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
