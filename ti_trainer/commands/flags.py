"""Flags from the fields of settings."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
from collections.abc import Sequence
from inspect import get_annotations
from typing import Any, NoReturn

from ..config.config import ModelConfig
from ..config.settings import SCALARS, field_documentation, field_names


class Parser(argparse.ArgumentParser):
    """Argparse whose errors name the nearest right flag."""

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split()
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            near = difflib.get_close_matches(unknown[0].split("=")[0], flags, n=1)
            message = f"{unknown[0]} is not a flag of {self.prog}"
            message += f"; did you mean {near[0]}?" if near else "; --help lists them"
        self.exit(2, f"error: {message}\n")


def add_fields(parser: argparse.ArgumentParser, kind: type, leave_out: Sequence[str] = ()) -> None:
    """A flag for each scalar field of a dataclass, with the field's documentation."""
    for base in kind.__mro__[1:]:
        if dataclasses.is_dataclass(base):
            add_fields(parser, base, leave_out)
    group = parser.add_argument_group(str(kind.__doc__).splitlines()[0])
    for field in dataclasses.fields(kind):
        if field.name not in get_annotations(kind):  # a base's
            continue
        name = str(field.type).partition(" | ")[0]
        if name not in SCALARS or field.name in leave_out:
            continue
        help_text = field_documentation(kind)[field.name].replace("%", "%%")
        if field.default not in (None, dataclasses.MISSING, False):
            help_text += f" (default: {field.default})"
        how: dict[str, Any] = {"type": SCALARS[name], "metavar": name.upper()}
        if name == "bool":
            how = {"action": argparse.BooleanOptionalAction}
        group.add_argument(f"--{field.name}", default=argparse.SUPPRESS, help=help_text, **how)


def take_model(options: argparse.Namespace) -> ModelConfig:
    """The model that the flags name; they are taken out of `options`."""
    return ModelConfig(**{name: vars(options).pop(name) for name in field_names(ModelConfig) if hasattr(options, name)})
