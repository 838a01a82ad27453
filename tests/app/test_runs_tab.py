"""What is shown of runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from PIL import Image

from tests.running import MakeConfig
from ti_trainer.app.run_queue import Job
from ti_trainer.app.runs_tab import describe, opened, progress_bar, rows_of, stamp_of
from ti_trainer.app.shelf import Shelf


def test_rows_of_the_queue_and_of_the_folder(make_config: MakeConfig) -> None:
    """A damaged run is a line, and hides no other."""
    config = make_config()
    output = Path(config.output)
    (output / "damaged").mkdir(parents=True)
    (output / "damaged" / "config.yaml").write_text("token: [")
    job = Job(config, state="running", step=3)
    studio: Any = SimpleNamespace(shelf=Shelf(output), queue=SimpleNamespace(latest=lambda: {"my-cat": job}))
    first, second = rows_of(studio)
    assert first[:3] == ["my-cat", "<my-cat>", "running"]
    assert first[3].startswith("step 3 of ")
    assert second[:3] == ["damaged", "", "damaged"]


def test_what_is_said_of_the_run_at_work(make_config: MakeConfig) -> None:
    assert describe(None, []) == "Nothing is being trained."
    job = Job(make_config(steps=200), state="running", step=50)
    job.notes.extend(["<b>", "two"])
    said = describe(job, ["next"])
    assert "behind it: next" in said
    assert "&lt;b&gt;" in said
    assert 'value="25.0"' in progress_bar(job)
    assert progress_bar(None) == ""


def test_pictures_that_are_there_or_not(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    assert (opened(file), stamp_of(file), opened(None), stamp_of(None)) == (None, None, None, None)
    Image.new("RGBA", (4, 4)).save(file)
    assert cast(Image.Image, opened(file)).mode == "RGB"
    assert stamp_of(file) == file.stat().st_mtime_ns
