"""Concepts that come while a job goes on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.running import MakeConfig, MakeTwo, exported, on_step
from ti_trainer import Interrupted, TrainConfig, train, train_all
from ti_trainer.config.inbox import Arrived
from ti_trainer.config.rows import Refusal
from ti_trainer.errors import BadInput, Incomplete
from ti_trainer.runs.storage import Storage
from ti_trainer.training.arrivals import Share
from ti_trainer.training.events import Event, Finished


class Doors:
    """Arrivals that a test lets in."""

    def __init__(self, example: TrainConfig) -> None:
        self.example = example
        self.is_open = True
        self.pause = 0.0
        self.outside: list[Arrived] = []

    def take(self) -> Arrived:
        return self.outside.pop(0) if self.outside else Arrived()


@pytest.mark.parametrize("first", [0, 1])
def test_who_comes_later_learns_the_same(make_two: MakeTwo, first: int) -> None:
    """To an empty job, and to one at work; a bad row ends nobody else, and all are on record."""
    cat, dog = make_two(steps=6, validate_every=0)
    alone = train(replace(dog, name="alone"))
    doors = Doors(cat)
    bad = Refusal("a.jsonl, line 3", BadInput("no good"), "a.jsonl,3", cat.output, None, {"order": 3})
    come = [Arrived([cat]), Arrived([dog], [bad])][first:]
    doors.outside = [] if first else list(come)
    finished: list[str] = []

    def look(event: Event) -> None:
        if isinstance(event, Finished):
            finished.append(event.run)
            doors.is_open = len(finished) < 2

    def open_door(line: object) -> None:
        doors.outside += come if not finished and first else []
        come.clear()

    with pytest.raises(Incomplete, match="no good"):
        train_all([cat][:first], [look, on_step(open_door)], arrivals=doors)
    assert sorted(finished) == ["my-cat", "my-dog"]
    manifest = Storage(cat.output).manifest()
    assert list(manifest.published) == ["alone", "my-cat", "my-dog"]
    assert {name: entry["columns"] for name, entry in manifest.failed.items()} == {"a.jsonl,3": {"order": 3}}
    run = replace(alone, embedding=alone.embedding.parent.parent / "my-dog" / "my-dog.safetensors")  # type: ignore[union-attr]
    assert exported(run) == pytest.approx(exported(alone), rel=1e-5, abs=1e-5)


def test_it_waits_until_it_is_stopped(make_config: MakeConfig) -> None:
    stop = threading.Event()
    doors = Doors(make_config())
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Interrupted, match=r"everything is saved; to go on: the same again with resume=True"):
        train_all([], stop=stop, arrivals=doors)


def test_processes_share_what_comes(make_config: MakeConfig) -> None:
    """Each concept is one process's, whatever order they see; the first tells of what is refused."""
    configs = [make_config(name=f"run-{number}") for number in range(40)]
    refused = [Refusal("line 1", BadInput("bad"), "a,1", "runs")]

    def taken(order: Sequence[TrainConfig], rank: int) -> Arrived:
        doors = Doors(configs[0])
        doors.outside = [Arrived(order, refused, ["note"])]
        share = Share(doors, rank, 3)
        assert (share.is_open, share.example, share.pause) == (True, configs[0], 0.0)
        return share.take()

    parts = [taken(configs, rank) for rank in range(3)]
    assert sorted(config.run_name for part in parts for config in part.configs) == sorted(c.run_name for c in configs)
    assert all(len(part.configs) > 5 for part in parts)
    for rank, part in enumerate(parts):
        assert [each.run_name for each in taken(configs[::-1], rank).configs[::-1]] == [
            each.run_name for each in part.configs
        ]
    assert [(part.refused, part.notes) for part in parts] == [(refused, ["note"]), ((), ()), ((), ())]
