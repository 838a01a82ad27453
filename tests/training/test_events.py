"""What callbacks hear, in which order, and with which numbers."""

from __future__ import annotations

from pathlib import Path

from tests.running import MakeConfig, MakeTwo, losses_measured
from ti_trainer import Run, train, train_all
from ti_trainer.training.events import CheckpointSaved, Event, Finished, Measured, PreviewDrawn, StepDone


def test_every_kind_at_its_step(make_config: MakeConfig) -> None:
    heard: list[Event] = []
    run = train(make_config(steps=5, validate_every=2, checkpoint_every=2, preview_every=4), [heard.append])
    assert [(event.kind, event.step) for event in heard] == [
        ("checkpoint", 0),
        ("step", 1),
        ("measured", 0),  # the first rows, when the first step is done
        ("step", 2),
        ("measured", 2),
        ("checkpoint", 2),
        ("step", 3),
        ("step", 4),
        ("measured", 4),
        ("preview", 4),
        ("checkpoint", 4),
        ("step", 5),
        ("measured", 5),
        ("checkpoint", 5),
        ("finished", 5),
    ]
    assert {event.run for event in heard} == {"my-cat"}
    assert [event.record for event in heard if isinstance(event, StepDone)] == run.history
    measured = {event.step: event.loss for event in heard if isinstance(event, Measured)}
    assert {step: loss for step, loss in measured.items() if step} == losses_measured(run)
    last = [event for event in heard if isinstance(event, Measured)][-1]
    assert last.best_step == run.best_step == min(measured, key=measured.__getitem__)
    files = [event.file for event in heard if isinstance(event, (CheckpointSaved, PreviewDrawn))]
    assert all(file.is_file() and file.is_relative_to(Path(run.folder)) for file in files)
    assert [event.result for event in heard if isinstance(event, Finished)] == [run]


def test_of_several_runs_each_has_its_own(make_two: MakeTwo) -> None:
    heard: list[Event] = []
    ends: dict[str, Run] = {}

    def note_end(event: Event) -> None:
        if isinstance(event, Finished):
            ends[event.run] = event.result

    runs = train_all(make_two(steps=3), [heard.append, note_end])
    assert [ends[name] for name in ("my-cat", "my-dog")] == runs
    for run, name in zip(runs, ends, strict=True):
        assert [event.record for event in heard if isinstance(event, StepDone) and event.run == name] == run.history
