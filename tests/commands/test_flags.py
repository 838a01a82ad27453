"""Flags of every command: their help, and the errors about them."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import dataclass

import pytest

from ti_trainer.cli import COMMANDS, build_parser, main
from ti_trainer.commands.flags import FIRST, Parser, add_settings
from ti_trainer.config.concept import Concept
from ti_trainer.config.config import TrainConfig
from ti_trainer.config.fields import Settings, setting, settings_of
from ti_trainer.config.settings import field_documentation, marked
from ti_trainer.method.crops import CROPS


def parser_of(command: str) -> Parser:
    _, parser = build_parser(command)
    assert parser is not None
    return parser


def help_of(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What --help says, each flag in one line."""
    monkeypatch.setenv("COLUMNS", "2000")
    monkeypatch.setenv("NO_COLOR", "1")
    return parser_of(command).format_help()


def flags_of(command: str) -> set[str]:
    return {flag for action in parser_of(command)._actions for flag in action.option_strings}


def groups_of(text: str) -> dict[str, str]:
    """Title of each group in --help -> the text beneath it."""
    titles = re.split(r"^(\S[^\n]*):$", text, flags=re.MULTILINE)
    return dict(zip(titles[1::2], titles[2::2], strict=True))


def errors_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The only line that a refusal prints."""
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse's way
        status = int(stop.code or 0)
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_every_setting_is_a_documented_flag_of_train(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(help_of("train", monkeypatch).split())
    for kind in (Concept, TrainConfig):
        for name in settings_of(kind):
            documentation = field_documentation(kind)[name]
            assert len(documentation) > 15, name
            metavar = rf'(?:, --no-{name}| [A-Z]+(?: \[[A-Z]+ \.\.\.\])?| "<NAME>")'
            assert re.search(rf"--{name}{metavar} {re.escape(documentation)}", text), name


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_flag_has_help(command: str) -> None:
    assert all(action.help for action in parser_of(command)._actions)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_opens_with_usage_in_one_line_an_example_and_what_is_used_most(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = help_of(command, monkeypatch)
    usage, empty, what, _, example, *_ = text.splitlines()
    assert usage.startswith(f"usage: ti-trainer {command} ")
    assert usage.endswith(" [...]")
    assert (empty, what) == ("", COMMANDS[command].__doc__)
    assert example.startswith(f"  ti-trainer {command} ")
    titles = list(groups_of(text))
    assert titles[0] == FIRST
    assert titles[-1] == "help"
    assert not re.search(r"[.:]:", text)
    assert not any(line.startswith(" " * 20) for line in text.split(FIRST)[0].splitlines())


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_examples_are_taken(command: str) -> None:
    """Every flag of the example is one, with a value that is right."""
    program, name, *arguments = shlex.split(COMMANDS[command].EXAMPLE)
    assert (program, name) == ("ti-trainer", command)
    parser_of(command).parse_args(arguments)


def test_help_of_train_opens_with_ten_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = groups_of(help_of("train", monkeypatch))
    shown = re.findall(r"^  --(\w+)", groups[FIRST], re.MULTILINE)
    assert len(shown) == 10
    assert sorted(shown) == sorted(marked("first"))
    assert {"token", "images", "model", "steps", "output"} <= set(shown)
    assert len(groups) > 8


def test_settings_of_training_alone_are_flags_of_train_alone() -> None:
    alone = {"--lean_unet", "--gradient_checkpointing"}
    assert alone <= flags_of("train")
    for command in ("preview", "evaluate", "inspect"):
        assert not alone & flags_of(command)
        assert {"--model", "--clip_skip", "--prediction_type", "--offline"} <= flags_of(command)


def test_help_of_choices_is_that_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Choices: centre, random, subject. (default: centre)" in help_of("train", monkeypatch)
    monkeypatch.setitem(CROPS, "corner", CROPS["centre"])
    assert "Choices: centre, random, subject, corner. (default: centre)" in help_of("train", monkeypatch)


def test_what_help_says_of_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {line.split()[0]: line for line in help_of("train", monkeypatch).splitlines() if line.startswith("  --")}
    assert lines["--seed"].endswith("(default: 0)")
    assert lines["--lr"].endswith("(default: 0.1)")
    assert lines["--plots,"].endswith("(on by default)")
    assert "default" not in lines["--flip,"]
    assert "None" not in lines["--name"]


@dataclass(frozen=True)
class Small(Settings):
    """Three settings."""

    size: int = setting(4, low=1, high=9, group="sizes")
    """How large, in %."""

    kind: str | None = setting(None, choices=("a", "b"), group="kinds", metavar="KIND")
    """Which kind."""

    loud: bool = setting(False, first=True)
    """Whether to be heard."""


def test_flags_of_a_small_class(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    parser = Parser(prog="small")
    add_settings(parser, Small)
    groups = groups_of(parser.format_help())
    assert list(groups) == [FIRST, "sizes", "kinds"]
    assert "--loud, --no-loud" in groups[FIRST]
    assert re.search(r"--size INT +How large, in %\. \(default: 4\)", groups["sizes"])
    assert re.search(r"--kind KIND +Which kind\. Choices: a, b\.\n", groups["kinds"])
    assert vars(parser.parse_args([])) == {}  # a flag that is not given overrides nothing
    assert vars(parser.parse_args(["--size", "9", "--kind=a", "--no-loud"])) == {"size": 9, "kind": "a", "loud": False}
    with pytest.raises(SystemExit):
        parser.parse_args(["--size", "10"])
    assert capsys.readouterr().err == "error: --size is 10; choose a number from 1 to 9\n"
    chosen = Parser(prog="small")
    add_settings(chosen, Small, lambda one: one.type is int)
    assert "--size" in chosen.format_help()
    assert "--kind" not in chosen.format_help()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--steps", "0"], "--steps is 0; choose a number from 1 to 10000000"),
        (["train", "--steps", "2.5"], "--steps is '2.5'; give a whole number"),
        (["train", "--lr", "fast"], "--lr is 'fast'; give a number"),
        (["train", "--lr", "nan"], "--lr is nan; choose a number from 0 to 1000"),
        (["train", "--weighting", "none"], "--weighting is 'none'; choose one of uniform, min_snr, debiased"),
        (["train", "--precision", "fp8"], "--precision is 'fp8'; choose one of auto, fp32, bf16, fp16"),
        (["train", "--resolutoin", "5"], "--resolutoin is not a flag of ti-trainer train; did you mean --resolution?"),
        (["train", "--xyz"], "--xyz is not a flag of ti-trainer train; --help lists them"),
        (["train", "--steps"], "--steps: expected one argument"),
        (["preview", "--prompts", "x", "--preview_steps", "0"], "--preview_steps is 0; choose a number from 1 to 1000"),
        (["preview", "--prompts", "x", "--preview_seeds", "0"], "--preview_seeds is 0; choose a number from 1 to 100"),
        (["preview", "--prompts", "x", "--lean_unet"], "--lean_unet is not a flag of ti-trainer preview"),
        (["preview"], "the following arguments are required: --prompts"),
        (["evaluate", "x", "--guidance", "-1"], "--guidance is -1.0; choose a number from 0 to 100"),
        (["evaluate", "x", "--seeds", "few"], "--seeds is 'few'; give a whole number"),
        (["dataset", "--crop", "middle"], "--crop is 'middle'; choose one of centre, random, subject"),
    ],
)
def test_refusals(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert errors_of(arguments, capsys).startswith(f"error: {message}")


def test_pictures_are_drawn_as_previews_of_a_run_are() -> None:
    options: argparse.Namespace = parser_of("evaluate").parse_args(["file"])
    assert (options.steps, options.guidance) == (TrainConfig.preview_steps, TrainConfig.guidance)
    drawing = {"--prompts", "--negative_prompt", "--preview_seeds", "--preview_width", "--preview_height"}
    drawing |= {"--preview_steps", "--guidance", "--seed"}
    assert drawing <= flags_of("preview")
    assert drawing <= flags_of("train")


def test_several_values_of_a_flag() -> None:
    """One after the other, or with the flag again."""
    arguments = ["--token", "<a>", "--prompts", "x", "y z", "--prompts", "{token}"]
    assert parser_of("train").parse_args(arguments).prompts == ["x", "y z", "{token}"]
    assert not hasattr(parser_of("train").parse_args([]), "prompts")
