"""What the page shows and does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ti_trainer import BadInput
from ti_trainer.app.forms import QUALITIES
from ti_trainer.app.studio import Studio


@pytest.fixture
def studio(tmp_path: Path, pictures: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "work", tmp_path / "runs", [str(pictures)])
    yield studio
    studio.queue.close()


@pytest.fixture
def asked(model: Path) -> dict[str, object]:
    return {"token": "<my-a>", "init": "cat", "model": str(model), "steps": 2, "precision": "fp32", "plots": False}


def test_a_look_at_the_draft(studio: Studio, pictures: Path, tmp_path: Path) -> None:
    """Problems and notes name pictures as whoever dropped them does."""
    assert studio.look({}).sheet is None
    studio.draft.add(sorted(pictures.iterdir()))
    look = studio.look({"token": "<my-a>"})
    assert look.sheet is not None
    assert look.problems == []
    studio.draft.caption("0001.png", "a dog")
    (problem,) = studio.look({"token": "<my-a>"}).problems
    first = sorted(path.name for path in pictures.iterdir() if path.suffix == ".png")[0]
    assert "captions without <my-a>" in problem
    assert first in problem
    assert str(studio.draft.folder) not in problem
    (problem,) = studio.look({"token": "cat"}).problems[:1]
    assert "'cat' is already a word" in problem
    (problem,) = studio.look({"steps": 0}).problems
    assert "steps is 0" in problem


def test_the_qualities() -> None:
    assert list(QUALITIES) == ["quick", "good", "thorough"]
    assert QUALITIES["good"] == {}


def test_training(studio: Studio, pictures: Path, asked: dict[str, object]) -> None:
    """From copies, so that the draft may be changed at once."""
    for settings, message in (
        (asked, "there are no pictures yet"),
        ({**asked, "token": ""}, "the new word is missing"),
        ({**asked, "token": "cat"}, "'cat' is already a word"),
        ({**asked, "steps": 0}, "steps is 0"),
        ({**asked, "images": "/etc"}, None),
    ):
        if message and "no pictures" not in message:
            studio.draft.add(sorted(pictures.iterdir())) if not studio.draft.pictures() else None
        if message:
            with pytest.raises(BadInput, match=message):
                studio.train(settings, "good")
    config = studio.config({**asked, "images": "/etc", "output": "/tmp"})
    assert config.concept.images == (str(studio.draft.folder),)  # not for whoever sends a form to say
    assert config.output == str(studio.shelf.output)
    job = studio.train(asked, "quick")
    assert job.config.steps == 2
    studio.draft.clear()
    with pytest.raises(BadInput, match="there are no pictures"):
        studio.train(asked, "quick")
    wait(studio)
    assert job.state == "finished", job.problem
    assert studio.shelf.finished() == ["my-a"]
    with pytest.raises(BadInput, match="is finished"):
        studio.resume("my-a")
    studio.draft.add(sorted(pictures.iterdir()))
    with pytest.raises(BadInput, match="there is a run called my-a already"):
        studio.train(asked, "quick")
    studio.delete("my-a")
    assert studio.shelf.names() == []
    assert not (studio.work / "concepts" / "my-a").exists()


def test_a_run_that_was_stopped(studio: Studio, pictures: Path, asked: dict[str, object]) -> None:
    studio.draft.add(sorted(pictures.iterdir()))
    job = studio.train({**asked, "steps": 3_000, "early_stop": 0, "validate_every": 0}, "good")
    end = time.monotonic() + 60
    while job.step < 3 and time.monotonic() < end:
        time.sleep(0.01)
    with pytest.raises(BadInput, match="is at work"):
        studio.delete("my-a")
    with pytest.raises(BadInput, match="is at work already"):
        studio.resume("my-a")
    studio.queue.stop("my-a")
    wait(studio)
    assert studio.shelf.state("my-a") == "can go on"
    again = studio.resume("my-a")
    while again.step < job.step + 2 and time.monotonic() < end:
        time.sleep(0.01)
    studio.queue.stop("my-a")
    wait(studio)
    assert (again.state, again.problem) == ("stopped", "")
    assert again.step > job.step


def test_words(studio: Studio, pictures: Path, model: Path) -> None:
    studio.draft.add(sorted(pictures.iterdir()))
    found = studio.suggest({"model": str(model)})
    assert found[0][0]
    assert all(isinstance(loss, float) for _, loss, _ in found)


def wait(studio: Studio) -> None:
    end = time.monotonic() + 60
    while studio.queue.open_jobs():
        assert time.monotonic() < end
        time.sleep(0.01)
