"""What a field says about its setting, and the checks that follow from it.

A setting is one field of a dataclass. The annotation is its type, the default its default, the text beneath it its
documentation, and `setting(...)` says the rest: flags, YAML keys, --help, checks and rules are derived from there.
"""

from __future__ import annotations

import dataclasses
import operator
import os
import reprlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Any, TypeVar

from ..errors import BadInput
from ..files.wording import flag, printable

T = TypeVar("T")

LONGEST_TEXT = 4_096  # letters of a setting, as many as a path has on Linux


@dataclass(frozen=True)
class Place:
    """How the value of a setting names a file or a folder: after a prefix, and unless it is one of some words."""

    prefix: str = ""
    words: Collection[str] = ()

    def path(self, value: str | None) -> str | None:
        """The path or URL in a value; None where there is none."""
        is_place = value is not None and value not in self.words and value.startswith(self.prefix)
        return value.removeprefix(self.prefix) if value is not None and is_place else None


@dataclass(frozen=True, kw_only=True)
class About:
    """What is known of a setting beside its type, its default and its documentation."""

    low: float = -inf
    high: float = inf
    choices: Collection[str] = ()  # names to choose from, such as the keys of a table
    check: Callable[[str], object] | None = None  # raises BadInput; it then decides what is right, and not `choices`
    metavar: str = ""  # what --help calls the value
    group: str = ""  # title in --help of this setting and those below it
    first: bool = False  # one of the settings that people need most: --help shows it at the top
    shared: bool = False  # the same for all concepts that are trained together
    exported: bool = False  # written into the metadata of the embedding file
    free_on_resume: bool = False  # a resumed run may change it: it does not change what the finished steps were
    start: bool = False  # says how to start, and is not kept with the run
    for_dataset: bool = False  # changes how pictures and captions are shown to the model
    row: bool = False  # a line of a list that somebody else wrote may set it
    place: Place | None = None  # it names what is read
    training_only: bool = False  # of a model, and of no use where it only draws pictures or reads words


def setting(default: T, **about: Any) -> T:
    """A field that is a setting; `about`: what About has."""
    field: T = dataclasses.field(default=default, metadata={"about": About(**about)})
    return field


def required(**about: Any) -> dict[str, About]:
    """The metadata of a field that is a setting without a default."""
    return {"about": About(**about)}


def as_text(value: Any) -> str:
    """Text, or a path, as a plain str."""
    text = os.fspath(value)
    if not isinstance(text, str):
        raise TypeError
    return str(text)


SCALARS: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
TUPLES: dict[str, type] = {f"tuple[{name}, ...]": kind for name, kind in SCALARS.items()}
# int: whole numbers of numpy too, and no text; float: text too, because YAML reads 5e-3 as text
CONVERSIONS: dict[type, Callable[[Any], Any]] = {str: as_text, int: operator.index, float: float, bool: bool}
KINDS: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Setting:
    """A field of a dataclass that is a setting."""

    name: str
    type: type  # str, int, float or bool; of each, where there are several
    optional: bool  # None is a value too
    default: Any  # dataclasses.MISSING where there is none
    about: About
    group: str  # its title in --help
    several: bool = False  # a tuple of values

    def checked(self, value: Any) -> Any:
        """`value` as the setting's type; raises BadInput where it has another type, is out of range or no choice.

        Of several values one alone will do.
        """
        if value is None and self.optional:
            return None
        if self.several:
            return tuple(map(self.checked_one, value if isinstance(value, (list, tuple)) else (value,)))
        return self.checked_one(value)

    def checked_one(self, value: Any) -> Any:
        """The same for one value of those that there are."""
        value = self.converted(value)
        about = self.about
        if self.type is str and len(value) > LONGEST_TEXT:
            raise BadInput(f"{flag(self.name)} has {len(value):,} letters, and at most {LONGEST_TEXT:,}; shorten it")
        if self.type is str:
            check_text(self.name, value)
        if self.type in (int, float) and not about.low <= value <= about.high:
            low, high = (f"{end:g}" if isinstance(end, float) else str(end) for end in (about.low, about.high))
            raise BadInput(f"{flag(self.name)} is {value}; choose a number from {low} to {high}")
        if about.check:
            about.check(value)
        elif about.choices and value not in about.choices:
            raise BadInput(f"{flag(self.name)} is '{printable(value)}'; choose one of {', '.join(about.choices)}")
        return value

    def converted(self, value: Any) -> Any:
        """`value` as the setting's type; raises BadInput where it has another."""
        try:
            if isinstance(value, bool) != (self.type is bool):
                raise TypeError
            return CONVERSIONS[self.type](value)
        except (TypeError, ValueError, OverflowError):
            raise BadInput(f"{flag(self.name)} is {reprlib.repr(value)}; give {KINDS[self.type]}") from None


def settings_of(kind: type) -> dict[str, Setting]:
    """The settings among the fields of a dataclass and of its bases, by name: text, numbers, bool, tuples of them."""
    return read_fields(kind)


@cache  # not on settings_of: mypy takes the class of a dataclass for something that cannot be hashed
def read_fields(kind: type) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    group = ""
    for field in dataclasses.fields(kind):
        annotation = field.type.__name__ if isinstance(field.type, type) else str(field.type)
        name, _, none = annotation.partition(" | ")
        about = field.metadata.get("about", About())
        group = about.group or group
        if name in SCALARS:
            found[field.name] = Setting(field.name, SCALARS[name], bool(none), field.default, about, group)
        elif name in TUPLES:
            found[field.name] = Setting(field.name, TUPLES[name], False, field.default, about, group, several=True)
    return found


def check_text(name: str, value: str) -> None:
    """Raises BadInput for characters that neither a text nor the name of a file can have."""
    try:
        is_text = b"\0" not in os.fsencode(value)  # it takes bytes that are no UTF-8, as Python has them in names
    except UnicodeEncodeError:
        is_text = False
    if not is_text:
        raise BadInput(f"{flag(name)} is '{printable(value)}', which is no text; leave out what is written as \\ here")


class Settings:
    """A base of frozen dataclasses: all their settings are checked when one is made."""

    def __post_init__(self) -> None:
        for name, one in settings_of(type(self)).items():
            object.__setattr__(self, name, one.checked(getattr(self, name)))
