"""What callbacks hear, in which order, and with which numbers."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.running import MakeConfig, MakeTwo, losses_measured
from ti_trainer import BadInput, Run, load_into_pipeline, train, train_all
from ti_trainer.embedding_files import Embedding
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


def test_a_run_says_in_three_lines_what_it_is(make_config: MakeConfig) -> None:
    run = train(make_config(steps=4, validate_every=2))
    loss = min(losses_measured(run).values())
    assert repr(run) == f"<my-cat>: rows of step {run.best_step} of 4, loss {loss:.5f}\n{run.embedding}\n{run.folder}"


def test_a_run_shows_itself(finished_run: Run) -> None:
    """Its pictures are in what a notebook shows, byte for byte, and its text without tags that nobody closes."""
    shown = finished_run._repr_html_()
    pictures = [base64.b64decode(each) for each in re.findall(r'base64,([^"]+)"', shown)]
    folder = Path(finished_run.folder)
    assert pictures == [(folder / name).read_bytes() for name in ("before_after.png", "loss.png")]
    assert "&lt;my-cat&gt;: rows of step" in shown


@pytest.mark.parametrize("again", [False, True])
def test_load_into_is_what_loading_the_file_is(
    finished_run: Run, model: Path, reference_pipeline: Callable[[Path], Any], again: bool
) -> None:
    """Also a second time, as when a cell is run again, with the vectors of now."""
    from_file, from_memory = (reference_pipeline(model) for _ in range(2))
    word = load_into_pipeline(from_file, finished_run.embedding)
    if again:
        other = {slot: rows + 1 for slot, rows in finished_run.learned.vectors.items()}
        assert replace(finished_run, learned=Embedding(word, other)).load_into(from_memory) == word
    assert finished_run.load_into(from_memory) == word
    tables = [each.text_encoder.get_input_embeddings().weight for each in (from_file, from_memory)]
    assert torch.equal(*tables)
    assert from_memory.tokenizer.added_tokens_encoder == from_file.tokenizer.added_tokens_encoder


def test_load_into_of_another_number_of_vectors(
    finished_run: Run, model: Path, reference_pipeline: Callable[[Path], Any]
) -> None:
    pipeline = reference_pipeline(model)
    finished_run.load_into(pipeline)
    more = {slot: torch.cat([rows, rows]) for slot, rows in finished_run.learned.vectors.items()}
    with pytest.raises(BadInput, match="has '<my-cat>' with another number of vectors than"):
        replace(finished_run, learned=Embedding("<my-cat>", more)).load_into(pipeline)
