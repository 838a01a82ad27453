"""Reading YAML that others wrote: its size is known before anything is made of it.

The parser's events are read one by one. What aliases and merges repeat counts each time, so a file of a few hundred
bytes cannot stand for millions of values.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from ..errors import BadInput
from .reading import YAML
from .text import LONGEST_NUMBER, read_text

# libyaml's is several times as fast, where PyYAML was built with it
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

DEEPEST = 20  # lists and mappings in each other; settings have three
MOST_VALUES = 100_000  # names, texts, numbers, lists and mappings: 5,000 concepts with ten settings each

CORE = "tag:yaml.org,2002:"
MAPPING = (None, "!", f"{CORE}map")
SEQUENCE = (None, "!", f"{CORE}seq")
MERGE = f"{CORE}merge"
TEXT = f"{CORE}str"
NUMBERS = (f"{CORE}int", f"{CORE}float")

# a drive and what YAML makes of a backslash and a letter: "C:\new" has a line break in it
DRIVE = re.compile("[A-Za-z]:[\0\a\b\t\n\v\f\r\x1b\x85\xa0\u2028\u2029]")
IN_QUOTES = "a path with backslashes goes into single quotes"

# tag -> how PyYAML reads such a scalar
SCALARS = {
    f"{CORE}null": SafeConstructor.construct_yaml_null,
    f"{CORE}bool": SafeConstructor.construct_yaml_bool,
    f"{CORE}int": SafeConstructor.construct_yaml_int,
    f"{CORE}float": SafeConstructor.construct_yaml_float,
}


def read_yaml_file(path: Path, name: str) -> Any:
    """The content of a YAML file; name: what messages call it. Raises BadInput as `read_text` and `parse_yaml` do."""
    return parse_yaml(read_text(path, YAML, name), name)


def parse_yaml(text: str, name: str) -> Any:
    """Lists, mappings, texts, numbers, true, false and null: the one document of a YAML text, or None without any.

    Raises BadInput, naming file and line, for anything else, such as dates and tags, for names that are no text or
    occur twice in a mapping, for numbers that are too long, for more than MOST_VALUES values, those of aliases counted
    each time, and for more than DEEPEST lists and mappings in each other.
    """
    try:
        return Reading(yaml.parse(text, LOADER), name).document()
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = " ".join(str(error.problem).split())
        cure = f"; {IN_QUOTES}" if "escape" in problem or "hex" in problem else ""
        raise BadInput(f"{name}{line} is not YAML: {problem}{cure}") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{name} is not YAML: {getattr(error, 'reason', type(error).__name__)}") from None


class Reading:
    """One pass over the events of a text."""

    def __init__(self, events: Iterator[Any], name: str) -> None:
        self.events = events
        self.name = name
        self.count = 0  # values so far
        self.anchors: dict[str, tuple[Any, int]] = {}  # what an alias stands for, and how many values that is
        self.resolver = Resolver()
        self.constructor = SafeConstructor()

    def refuse(self, event: Any, reason: str) -> NoReturn:
        raise BadInput(f"{self.name}, line {event.start_mark.line + 1} {reason}")

    def document(self) -> Any:
        """The value of the only document."""
        next(self.events)  # the stream begins
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self.value(next(self.events), 0)
        next(self.events)  # the document ends
        event = next(self.events)
        if not isinstance(event, yaml.StreamEndEvent):
            self.refuse(event, "begins a second document; leave one of them")
        return value

    def value(self, event: Any, depth: int) -> Any:
        """What begins with an event; depth: how many lists and mappings it lies in."""
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                self.refuse(event, f"repeats {reprlib.repr(event.anchor)}, which nothing before it is called")
            value, size = self.anchors[event.anchor]
            self.add(event, size)
            return value
        before = self.count
        self.add(event, 1)
        if isinstance(event, yaml.CollectionStartEvent) and depth == DEEPEST:
            self.refuse(event, f"is too deep: more than {DEEPEST} lists or mappings lie in each other")
        if isinstance(event, yaml.SequenceStartEvent):
            value = self.sequence(event, depth)
        elif isinstance(event, yaml.MappingStartEvent):
            value = self.mapping(event, depth)
        else:
            value = self.scalar(event)
        if event.anchor:
            self.anchors[event.anchor] = value, self.count - before
        return value

    def add(self, event: yaml.Event, values: int) -> None:
        self.count += values
        if self.count > MOST_VALUES:
            self.refuse(event, f"is where the file has more than {MOST_VALUES:,} values, aliases counted; cut it up")

    def sequence(self, start: yaml.SequenceStartEvent, depth: int) -> list[Any]:
        if start.tag not in SEQUENCE:
            self.refuse_tag(start, start.tag)
        values = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            values.append(self.value(event, depth + 1))
        return values

    def mapping(self, start: yaml.MappingStartEvent, depth: int) -> dict[str, Any]:
        if start.tag not in MAPPING:
            self.refuse_tag(start, start.tag)
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        seen: set[str] = set()
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            tag = self.tag_of(event) if isinstance(event, yaml.ScalarEvent) else None
            if tag not in (TEXT, MERGE):
                self.refuse(event, "has a name that is no text; names of settings are text, such as token")
            if event.value in seen:
                self.refuse(event, f"has {reprlib.repr(event.value)} for the second time; leave one of them")
            seen.add(event.value)
            self.add(event, 1)
            value = self.value(next(self.events), depth + 1)
            if tag == TEXT:
                own[event.value] = value
                continue
            for each in value if isinstance(value, list) else [value]:
                if not isinstance(each, dict):
                    self.refuse(event, "merges what is no mapping; write <<: *NAME")
                for key, inherited in each.items():
                    merged.setdefault(key, inherited)
        return {**merged, **own}

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        tag = self.tag_of(event)
        if event.style == '"' and DRIVE.match(event.value):
            self.refuse(event, f"has {reprlib.repr(event.value)}, which is no path; {IN_QUOTES}")
        if tag in (TEXT, MERGE):
            return event.value
        if tag in NUMBERS and len(event.value) > LONGEST_NUMBER:
            self.refuse(event, f"has a number of {len(event.value):,} digits; write a smaller one, or put it in quotes")
        if tag == f"{CORE}timestamp":
            self.refuse(event, "has a date, which no setting is; put it in quotes if it is a text")
        if tag not in SCALARS:
            self.refuse_tag(event, tag)
        try:
            return SCALARS[tag](self.constructor, yaml.ScalarNode(tag, event.value))
        except (ValueError, KeyError, IndexError):  # only where the file itself says that it is one
            self.refuse(event, f"has {reprlib.repr(event.value)} as !!{tag.removeprefix(CORE)}, which it is not")

    def tag_of(self, event: yaml.ScalarEvent) -> str:
        """The tag of a scalar: its own, or what it looks like."""
        if event.tag and event.tag != "!":
            return event.tag
        return self.resolver.resolve(yaml.ScalarNode, event.value, event.implicit)

    def refuse_tag(self, event: yaml.Event, tag: str) -> NoReturn:
        shown = reprlib.repr(tag.replace(CORE, "!!"))
        self.refuse(event, f"has the tag {shown}, which is not read here; leave it out")
