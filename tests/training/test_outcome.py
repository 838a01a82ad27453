"""What is said of a run's rows at its end, against rows that were put there."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.learning import learners_of
from tests.running import MakeConfig, MakeTwo
from ti_trainer import train, train_all
from ti_trainer.training.learner import Learner
from ti_trainer.training.outcome import TOO_LONG, describe_rows, warnings_of


@pytest.fixture
def learner(make_config: MakeConfig) -> Learner:
    return learners_of([make_config(num_vectors=2)])[1][0]


def put(learner: Learner, times: float, degrees: float) -> None:
    """Make the present and best rows the start, so many times as long and turned by so much."""
    start = learner.initial["clip_l"]
    learner.load({"clip_l": times * rotated(start, degrees)})
    learner.keep(5, 0.1)


def rotated(rows: Tensor, degrees: float) -> Tensor:
    """Rows (n, D), each turned towards some direction at a right angle."""
    lengths = rows.norm(dim=1, keepdim=True)
    unit = rows / lengths
    across = torch.roll(unit, 1, dims=1)
    across = torch.nn.functional.normalize(across - (across * unit).sum(1, keepdim=True) * unit, dim=1)
    angle = math.radians(degrees)
    return lengths * (math.cos(angle) * unit + math.sin(angle) * across)


def test_the_summary_has_length_angle_and_nearest_words(learner: Learner) -> None:
    put(learner, 1.25, 20)
    first, *rows = describe_rows(learner)
    assert first == "  rows:         1.25 times as long as a word, 20 degrees from their start"
    assert len(rows) == 2
    for number, line in enumerate(rows, start=1):
        assert f" row {number} is near cat 0.9" in line  # cos 20 degrees = .94; further rows start with noise
    assert " near cat 0.94, " in rows[0]
    assert warnings_of(learner) == []


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (1.45, None),
        (1.58, "1.6 times as long as a word: longer rows drown"),
        (1.92, "1.9 times as long as a word: longer rows drown"),
        (2.08, "2.1 times as long as a word: the text encoder begins to lose the order"),
        (4.1, '4.1 times as long as a word: prompts around it will be ignored; optimizer="sphere" keeps'),
    ],
)
def test_notes_on_long_rows(learner: Learner, times: float, said: str | None) -> None:
    put(learner, times, 20)
    lines = warnings_of(learner)
    assert len(lines) == (said is not None)
    assert all(str(said) in line for line in lines)


def test_the_cure_for_rows_that_keep_a_length(make_config: MakeConfig) -> None:
    """A length of 3 that left the rows 2.5 times as long as a word had to be 3 / 2.5 = 1.2."""
    _, (learner,) = learners_of([make_config(num_vectors=2, optimizer="sphere:length=3")])
    put(learner, 2.5, 20)
    (line,) = warnings_of(learner)
    assert line.endswith('; optimizer="sphere:length=1.2" makes them as long as one')


def test_the_longest_limit_comes_first() -> None:
    assert list(TOO_LONG) == sorted(TOO_LONG, reverse=True) == [4.0, 2.0, 1.5]


def test_rows_that_did_not_move(learner: Learner) -> None:
    """Below one degree; a single row that moved is enough."""
    put(learner, 1.1, 0.9)
    (line,) = warnings_of(learner)
    assert line.startswith("the rows have not moved from their start")
    assert "a higher lr than 0.015" in line
    put(learner, 1.1, 1.1)
    assert warnings_of(learner) == []
    moved = learner.initial["clip_l"].clone()
    moved[1] = rotated(moved, 5)[1]
    learner.load({"clip_l": moved})
    learner.keep(6, 0.1)
    assert warnings_of(learner) == []


def test_rows_that_moved_and_became_worse(learner: Learner) -> None:
    """The best are still those of the start."""
    learner.load({"clip_l": rotated(learner.initial["clip_l"], 40)})
    (line,) = warnings_of(learner)
    assert line.startswith("the saved rows are those of the start, because the fixed-noise loss did not fall")
    assert "more steps or a lower lr than 0.015" in line


def test_what_the_terminal_says(make_config: MakeConfig, make_two: MakeTwo, capsys: pytest.CaptureFixture[str]) -> None:
    """For one run lines of its rows and the notes, for a list the notes with the names of the runs."""
    still = {"lr": 0.0, "steps": 1, "validate_every": 0}
    train(make_config(**still))
    said = capsys.readouterr()
    assert "\n  rows:         1.00 times as long as a word, 0 degrees from their start\n" in said.out
    assert "row 1 is near cat 1.00" in said.out
    assert "note: the rows have not moved" in said.err
    train_all(make_two(**still, overwrite=True))
    said = capsys.readouterr()
    assert "note: my-cat: the rows have not moved" in said.err
    assert "note: my-dog: the rows have not moved" in said.err
    assert " degrees " not in said.out


def test_rows_of_two_text_encoders(make_config: MakeConfig, tiny_models: dict[str, object]) -> None:
    config = make_config(model=str(tiny_models["sdxl-eps"]), num_vectors=1)
    _, (learner,) = learners_of([config])
    _, *rows = describe_rows(learner)
    assert [line.split(",")[0].strip() for line in rows] == [
        "row 1 of clip_l is near cat 1.00",
        "row 1 of clip_g is near cat 1.00",
    ]
