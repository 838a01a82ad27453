"""Seats: how many examples are in a step, and that a concept leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from tests.learning import prepare_all
from tests.running import MakeTwo
from ti_trainer.runs.folder import RunFolder
from ti_trainer.training.console import Silence
from ti_trainer.training.gallery import Budget
from ti_trainer.training.learner import Learner
from ti_trainer.training.memory.plan import MemoryPlan
from ti_trainer.training.report import Report
from ti_trainer.training.seats import Seat, Seats


def test_a_concept_that_leaves_frees_its_folder_and_its_rows(make_two: MakeTwo) -> None:
    configs = make_two(batch_size=3)
    sessions = prepare_all(configs)
    family = sessions[0].family
    seats = Seats()
    for config, session in zip(configs, sessions, strict=True):
        folder = RunFolder(config)
        assert folder.acquire()
        folder.create()
        learner = Learner(session)
        plan = MemoryPlan(1, False, 0, 0)
        report = Report(learner, folder, 0.0, [], Budget(0.0), Silence(), plan)
        report.open()
        seats.take(Seat(learner, folder, report, begun_at=0))
    assert seats.examples == 6
    assert family.placeholders.table("clip_l").shape == (3, 32)
    assert not RunFolder(configs[0]).acquire()
    first, second = seats
    seats.leave(first)
    assert list(seats) == [second]
    assert seats.examples == 3
    assert torch.equal(family.placeholders.table("clip_l"), second.learner.rows["clip_l"])
    other = RunFolder(configs[0])
    assert other.acquire()
    other.release()
    for seat in seats:  # a list of its own: seats may be left on the way
        seats.leave(seat)
    assert len(seats) == 0
    assert family.placeholders.present == {}


def test_when_something_is_due(make_two: MakeTwo) -> None:
    config = make_two(steps=7, validate_every=3, checkpoint_every=5)[0]
    (session,) = prepare_all([config])
    learner = Learner(session)
    seat = Seat(learner, RunFolder(config), None, begun_at=0)
    assert seat.is_due  # the first step is not behind it
    seat.is_settled = True
    due = []
    for step in range(1, 8):
        learner.step = step
        if seat.is_due:
            due.append(step)
    assert due == [3, 5, 6, 7]


def test_steps_of_embeddings_and_pictures(make_two: MakeTwo) -> None:
    """The last rows are drawn when all is done; without a word about pictures, there are ten times to draw some."""
    config = make_two(steps=50, save_every=20, preview_every=25, plots=True)[0]
    (session,) = prepare_all([config])
    learner = Learner(session)

    def steps(name: str, **changes: Any) -> list[int]:
        learner.config = replace(config, **changes)
        found = []
        for step in range(1, 51):
            learner.step = step
            found += [step] * getattr(learner, name)
        return found

    assert steps("is_exported_now") == [20, 40]
    assert steps("is_exported_now", save_every=0) == []
    assert steps("is_previewed_now") == [25]
    assert steps("is_previewed_now", preview_every=0) == []
    assert steps("is_previewed_now", preview_every=None) == [5, 10, 15, 20, 25, 30, 35, 40, 45]
    assert steps("is_previewed_now", preview_every=None, plots=False) == []
