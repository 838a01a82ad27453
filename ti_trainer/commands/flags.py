"""Flags from settings, and a parser whose help opens with what people need."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import MISSING, replace
from functools import partial
from types import ModuleType
from typing import Any, NoReturn

from ..config.config import TrainConfig
from ..config.fields import About, Setting, settings_of
from ..config.model import ModelConfig
from ..config.other_names import other_name
from ..config.settings import field_documentation
from ..errors import BadInput
from ..files.wording import command_line

FIRST = "most used"  # title of the flags that --help shows before all others


class Parser(argparse.ArgumentParser):
    """Argparse with groups in the order of their use, and errors that name the nearest right flag."""

    def __init__(self, **how: Any) -> None:
        super().__init__(add_help=False, formatter_class=argparse.RawDescriptionHelpFormatter, **how)
        self.groups = {FIRST: self.add_argument_group(FIRST)}

    def group(self, title: str) -> argparse._ArgumentGroup:
        """The group of flags with this title; it is made where there is none."""
        if title not in self.groups:
            self.groups[title] = self.add_argument_group(title)
        return self.groups[title]

    def add(self, *names: str, **how: Any) -> None:
        """A flag or an argument of the command's own, among those that --help shows first."""
        self.groups[FIRST].add_argument(*names, **how)

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split()
        if unknown:
            name = unknown[0].split("=")[0]
            known = [flag.removeprefix("--") for action in self._actions for flag in action.option_strings]
            message = f"{name} is not a flag of {self.prog}; {other_name(name, known) or '--help lists them'}"
        if message.startswith("argument -"):
            name, _, reason = message.removeprefix("argument ").partition(": ")
            message = reason if reason.startswith("--") else f"{name}: {reason}"  # `read` names the flag itself
        self.exit(2, f"error: {message}\n")


def describe(parser: Parser, command: ModuleType) -> None:
    """Give a parser a command's flags, its usage in one line and its example."""
    command.add_flags(parser)
    parser.group("help").add_argument("-h", "--help", action="help", help="show this and stop")
    parser.usage = f"%(prog)s {command.USAGE} [...]"
    parser.description = f"{command.__doc__}\n\n  {command.EXAMPLE}"


def add_settings(parser: Parser, kind: type, wanted: Callable[[Setting], bool] = lambda setting: True) -> None:
    """A flag for each setting of a dataclass, with its documentation; wanted: which settings.

    A flag that is not given is not in the options: the default, or what a YAML file says, then holds.
    """
    documentation = field_documentation(kind)
    for name, setting in settings_of(kind).items():
        if wanted(setting):
            title = FIRST if setting.about.first else setting.group
            add_setting(parser, setting, documentation[name], title, argparse.SUPPRESS)


def add_number(parser: Parser, name: str, default: int | None, text: str, title: str = FIRST, **about: Any) -> None:
    """A flag of the command's own that takes a whole number, in the group called `title`; `about`: what About has."""
    setting = Setting(name, int, False, default, About(**about), title)
    add_setting(parser, setting, text, title, default)


def add_drawing(parser: Parser) -> None:
    """--steps and --guidance of commands that draw pictures: what a run has for its previews."""
    settings = settings_of(TrainConfig)
    for name, like in {"steps": "preview_steps", "guidance": "guidance"}.items():
        setting = replace(settings[like], name=name)
        add_setting(parser, setting, field_documentation(TrainConfig)[like], FIRST, setting.default)


def add_setting(parser: Parser, setting: Setting, text: str, title: str, default: Any) -> None:
    """One flag in the group called `title`; default: what the options hold where it is not given."""
    how: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
    if setting.type is not bool:
        names = {str: "TEXT", int: "INT", float: "FLOAT"}
        how = {"type": partial(read, setting), "metavar": setting.about.metavar or names[setting.type]}
    if setting.several:
        how |= {"nargs": "+", "action": "extend"}
    text = " ".join([text, *help_notes(setting)]).replace("%", "%%")
    parser.group(title).add_argument(f"--{setting.name}", default=default, help=text, **how)


def help_notes(setting: Setting) -> Iterable[str]:
    """What --help says of a setting after its documentation."""
    if setting.about.choices:
        yield f"Choices: {', '.join(setting.about.choices)}."
    if setting.default is True:
        yield "(on by default)"
    elif setting.default not in (None, MISSING, (), "") and setting.type is not bool:
        yield f"(default: {setting.default})"


def read(setting: Setting, text: str) -> Any:
    """The value of a flag, checked; the error is one that argparse shows as it is."""
    value: str | int = text
    if setting.type is int:
        with suppress(ValueError):
            value = int(text)
    try:
        with command_line():
            return setting.checked_one(value)
    except BadInput as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def add_model(parser: Parser) -> None:
    """The settings of a model that is not trained with."""
    add_settings(parser, ModelConfig, lambda setting: not setting.about.training_only)


def take_model(options: argparse.Namespace) -> ModelConfig:
    """The model that the flags name; they are taken out of `options`."""
    given = {name: vars(options).pop(name) for name in settings_of(ModelConfig) if hasattr(options, name)}
    return ModelConfig(**given)
