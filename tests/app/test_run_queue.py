"""Runs one after the other."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from PIL import Image

from tests.running import MakeConfig, exported
from ti_trainer import train
from ti_trainer.app.run_queue import Job, JobConsole, RunQueue, duration


@pytest.fixture
def queue() -> Iterator[RunQueue]:
    queue = RunQueue()
    yield queue
    queue.close()


def until(is_so: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_in_their_order(queue: RunQueue, make_config: MakeConfig) -> None:
    """One that fails tells why, and the next is trained."""
    first = queue.add(make_config(steps=6, validate_every=2))
    bad = queue.add(make_config(token="<bad>", images="nowhere"))
    last = queue.add(make_config(token="<my-dog>", steps=4, validate_every=0))
    until(lambda: not queue.open_jobs())
    assert [job.state for job in (first, bad, last)] == ["finished", "failed", "finished"]
    assert "does not exist" in bad.line()
    assert last.line() == "learned, step 4 of 4"
    assert first.plot is not None
    assert Image.open(io.BytesIO(first.plot)).format == "PNG"
    assert list(queue.latest()) == ["my-cat", "bad", "my-dog"]
    queue.forget("bad")
    assert list(queue.latest()) == ["my-cat", "my-dog"]


def test_stopping_and_going_on(queue: RunQueue, make_config: MakeConfig) -> None:
    """What it learns is what it learns undisturbed."""
    config = make_config(steps=300, validate_every=0, checkpoint_every=100, plots=False)
    job = queue.add(config)
    waiting = queue.add(replace(config, name="waits"))
    until(lambda: job.step >= 5)
    assert queue.at_work() is job
    assert job.line().startswith(f"step {job.step} of 300, about ") or "loss" in job.line()
    assert waiting.line() == "waits for the runs before it"
    queue.stop("waits")
    queue.stop("my-cat")
    until(lambda: not queue.open_jobs())
    assert (job.state, waiting.state) == ("stopped", "stopped")
    assert job.step < 300
    assert job.line() == f"stopped at step {job.step} of 300; it can go on"
    again = queue.add(replace(config, steps=job.step + 3, lr_schedule="constant", resume=True))
    until(lambda: not queue.open_jobs())
    assert again.state == "finished", again.problem
    alone = train(replace(config, name="alone", steps=again.step))
    run = replace(alone, embedding=again.folder / "my-cat.safetensors")
    assert exported(run).equal(exported(alone))


def test_closing_saves(make_config: MakeConfig) -> None:
    queue = RunQueue()
    job = queue.add(make_config(steps=5_000, validate_every=0))
    until(lambda: job.step >= 2)
    queue.close()
    assert job.state == "stopped"
    assert any((job.folder / "checkpoints").iterdir())


def test_what_a_run_says(make_config: MakeConfig) -> None:
    job = Job(make_config())
    console = JobConsole(job)
    console.say("hello")
    console.note("small")
    assert list(job.notes) == ["hello", "note: small"]
    with console.drawing("drawing", 5) as progress:
        progress(1)
        assert job.doing == "drawing"
    assert job.doing == ""


def test_times_in_words() -> None:
    assert [duration(seconds) for seconds in (5, 89, 300, 7200)] == ["5 s", "89 s", "5 min", "2.0 h"]
