"""The page over the runs of a job, from a manifest and from what a process knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.reports.test_run_report import Reader, words
from tests.running import MakeConfig
from ti_trainer import Concept
from ti_trainer.runs.storage import Storage
from ti_trainer.training.console import Silence
from ti_trainer.training.job_index import JobIndex


class Hearing(Silence):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, warning: str) -> None:
        self.notes.append(warning)


@pytest.fixture
def _empty_memory() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.mark.usefixtures("_empty_memory")
@pytest.mark.parametrize("remote", [False, True])
def test_every_run_has_its_line(make_config: MakeConfig, remote: bool) -> None:
    config = make_config(plots=True, **({"output": "memory://jobs/runs"} if remote else {}))
    output = config.output
    entry = {"token": "<my-cat>", "step": 8, "best_step": 4, "config": {"init": "cat", "plots": True}}
    Storage(output).publish("my-cat", {}, entry)
    Storage(output).publish("odd", {}, {"config": 7, "token": ["<b>"]})  # somebody else's, or damaged
    other = replace(config, concept=Concept("<my-dog>", config.concept.images))
    quiet = replace(config, output=f"{output}-quiet", plots=False)
    index = JobIndex([config, other, quiet], Hearing())
    index.write([other], {"bad": ValueError("its pictures\nare gone")})
    page = (
        fsspec.filesystem("memory").cat_file("/jobs/runs/index.html")
        if remote
        else Path(output, "index.html").read_bytes()
    ).decode()
    said = words(page)
    assert "4 concepts, 2 finished, 1 failed" in said
    for text in (
        "<my-cat> finished",
        "rows of step 4 of 8, from 'cat'",
        "<my-dog> learning",
        "bad failed",
        "its pictures are gone",
    ):
        assert text in said
    assert [each["href"] for each in Reader(page).all("a")] == ["my-cat/report.html"] * 2 + ["my-dog/report.html"]
    assert not Path(f"{output}-quiet").exists()


def test_not_more_often_than_it_may(make_config: MakeConfig) -> None:
    config = make_config(plots=True)
    index = JobIndex([config], Hearing())
    index.write_now_and_then([], {})
    file = Path(config.output, "index.html")
    first = file.stat().st_mtime_ns
    index.write_now_and_then([config], {})
    assert file.stat().st_mtime_ns == first
    index.write([config], {})
    assert "learning" in words(file.read_text())


def test_a_page_that_cannot_be_written_stops_nothing(make_config: MakeConfig) -> None:
    config = make_config(plots=True)
    Path(config.output, "index.html").mkdir(parents=True)
    console = Hearing()
    JobIndex([config], console).write([], {})
    (note,) = console.notes
    assert note.startswith(f"index.html of {config.output} was not written: ")
