"""report.html of a run: what it says against what the run has done, while it goes on and after."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.reports.test_run_report import Reader, words
from tests.running import MakeConfig, MakeTwo, interrupting, on_step
from tests.tiny_judge import build_judge
from tests.training.test_endings import poison
from ti_trainer import Incomplete, Interrupted, Run, train, train_all
from ti_trainer.cli import main
from ti_trainer.training import live_report
from ti_trainer.training.live_report import changed_settings


def test_the_page_of_a_finished_run(finished_run: Run, model: Path, pictures: Path) -> None:
    page = (Path(finished_run.folder) / "report.html").read_text()
    said = words(page)
    assert f"<my-cat> finished {model} · step 8 of 8 · rows of step {finished_run.best_step} saved" in said
    assert f"Step {finished_run.best_step} (saved)" in said
    for picture in pictures.iterdir():
        assert f"{picture.name} 48 x 40, shown at 32 x 32" in said
    assert f"images {pictures} my-cat init cat auto" in said
    found = Reader(page)
    losses = [line["loss"] for line in finished_run.history]
    assert len([each for each in found.all("polyline") if each["class"] == "faint"]) == 1
    (faint,) = [each["points"] for each in found.all("polyline") if each["class"] == "faint"]
    places = [float(point.split(",")[1]) for point in str(faint).split()]
    assert [sorted(places).index(place) for place in places] == [  # a high loss is high up
        sorted(losses, reverse=True).index(loss) for loss in losses
    ]
    assert re.search(r"row 1 \S+ \d\.\d\d", said)
    assert str(finished_run.embedding) in said
    assert "load_textual_inversion" in said
    assert len(page) < 1_000_000


def test_what_is_not_the_default(make_config: MakeConfig) -> None:
    changed = {name: (value, default) for name, value, default in changed_settings(make_config(prompts=["a", "b"]))}
    assert changed["token"] == ("<my-cat>", "")
    assert changed["steps"] == ("8", "100")
    assert changed["prompts"] == ("a; b", "none")
    assert changed["lr"] == ("0.015", "0.1")
    assert not {"seed", "flip", "guidance", "resume"} & changed.keys()


def test_written_while_it_learns_and_when_it_stops(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_report, "PAUSE", 0.0)
    monkeypatch.setattr(live_report, "SHARE", 1e9)
    config = make_config(steps=4, batch_size=1, plots=True)
    file = Path(config.output) / "my-cat" / "report.html"
    seen: list[str] = []

    def look(line: dict[str, Any]) -> None:
        if file.exists():
            seen.append(re.search(r"(\w+) \S+ · step (\d) of 4", words(file.read_text())).group(1, 2))  # type: ignore[union-attr]

    with pytest.raises(Interrupted):
        train(config, [on_step(look), interrupting(3)])
    assert seen == [("learning", "1"), ("learning", "2")]
    assert "stopped" in words(file.read_text())


def test_without_plots_there_is_none(make_config: MakeConfig) -> None:
    run = train(make_config(steps=1, plots=False))
    assert not (Path(run.folder) / "report.html").exists()


def test_evaluation_comes_into_the_page(finished_run: Run, tmp_path: Path) -> None:
    """By `evaluate`, which knows the run by its folder."""
    run = shutil.copytree(finished_run.folder, tmp_path / "my-cat")
    judge = build_judge(tmp_path / "judge")
    flags = [
        "--judge",
        str(judge),
        "--seeds",
        "1",
        "--steps",
        "1",
        "--prompts",
        "a {token}",
        "--output",
        str(tmp_path / "e"),
    ]
    assert main(["evaluate", str(run), *flags]) == 0
    said = words((run / "report.html").read_text())
    assert "How good it is" in said
    assert "1 prompts, each from 1 seeds" in said
    assert "Nearest words" in said


def test_a_run_that_diverged_says_so(make_two: MakeTwo, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the page over all runs of a job names it."""
    cat, dog = make_two(steps=12, batch_size=1, validate_every=0, plots=True)
    poison(monkeypatch, "<my-dog>", 2, float("nan"))
    with pytest.raises(Incomplete, match="1 of 2 concepts failed"):
        train_all([cat, dog])
    output = Path(cat.output)
    assert "<my-cat> finished" in words((output / "my-cat" / "report.html").read_text())
    assert "<my-dog> diverged" in words((output / "my-dog" / "report.html").read_text())
    said = words((output / "index.html").read_text())
    assert "2 concepts, 1 finished, 1 failed" in said
    assert "my-dog failed" in said
