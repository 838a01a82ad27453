"""What settings are called in other trainers."""

from __future__ import annotations

import re

import pytest

from ti_trainer.cli import main
from ti_trainer.config.config import TrainConfig
from ti_trainer.config.other_names import INSTEAD, SAME, other_name
from ti_trainer.config.settings import config_from_mapping, settings_of_run
from ti_trainer.errors import BadInput

OURS = [*settings_of_run(TrainConfig), "concepts"]


def test_what_the_table_leads_to_is_there() -> None:
    assert set(SAME.values()) <= set(OURS)
    assert {name for text in INSTEAD.values() for name in re.findall(r"{(\w+)}", text)} <= set(OURS)
    assert not (SAME.keys() | INSTEAD.keys()) & set(OURS)
    assert not SAME.keys() & INSTEAD.keys()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("learning_rate", "it is lr here"),
        ("--max-train-steps", "it is steps here"),
        ("scale_lr", "lr is the same for every batch size: leave it out"),
        ("batch-size", "did you mean batch_size?"),
        ("stepz", "did you mean steps?"),
        ("lrate", ""),
        ("xyzzy" * 10_000, ""),
    ],
)
def test_hints(name: str, hint: str) -> None:
    assert other_name(name, OURS) == hint


def test_as_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train", "--token", "<my-cat>", "--learning_rate", "5e-4", "--placeholder_token=x"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: --learning_rate is not a flag of ti-trainer train; it is --lr here\n"


def test_as_a_key() -> None:
    with pytest.raises(BadInput, match=r"^'initializer_token' is not a setting; it is init here$"):
        config_from_mapping({"token": "<my-cat>", "initializer_token": "cat"})


def test_what_nobody_knows_is_refused_in_one_line() -> None:
    with pytest.raises(BadInput) as refusal:
        config_from_mapping({"token": "<my-cat>", "xyzzy": 1})
    assert str(refusal.value) == "'xyzzy' is not a setting; `ti-trainer train --help` lists them"
