"""How far a job is, on a terminal and in a log."""

from __future__ import annotations

import io
import re

import pytest
from tqdm.std import tqdm

import ti_trainer.training.gauges
from ti_trainer.training.gauges import OF_CONCEPTS, Bar, LogLines


def test_the_bar_of_many_concepts_fits_44_columns() -> None:
    said = io.StringIO()
    with tqdm(total=100_000, initial=0, bar_format=OF_CONCEPTS, ncols=44, file=said, mininterval=0) as bar:
        bar.start_t -= 5 * 3600
        bar.update(76_543.2)
        bar.refresh()
    last = said.getvalue().split("\r")[-1].rstrip()
    assert last.startswith("76543/100000 concepts ")
    assert re.search(r" 5:00:0\d<1:31:\d\d$", last)
    assert len(last) <= 44


def test_a_bar_goes_where_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar("", True)
    bar.show(0, 2)
    bar.show(1.5, 3)
    bar.tell({"loss": "0.5"})  # which means nothing for many together
    bar.show(3, 3)
    bar.say("a text")
    bar.say("a warning", warns=True)
    bar.close()
    said = capsys.readouterr()
    assert "3/3 concepts" in said.err
    assert "loss" not in said.err
    assert said.out == "a text\n"
    assert "a warning" in said.err


def test_lines_of_a_log(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each five seconds, however often it is asked, and nothing that is written over."""
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    lines = LogLines("<my-cat>", False)
    for step in range(125):
        now[0] = 100 + step / 10
        lines.show(step, 200)
    said = capsys.readouterr().out
    assert "\r" not in said
    assert said.splitlines() == ["<my-cat> 50 of 200 steps, 00:15 left", "<my-cat> 100 of 200 steps, 00:10 left"]


def test_a_log_says_how_long_it_takes() -> None:
    lines = LogLines("<a>", False)
    lines.begun = (10.0, 20.0)
    lines.tell({"loss": "0.06", "validation": "0.05"})
    assert lines.line(20.0, 40, 100) == "<a> 40 of 100 steps, 00:30 left, loss 0.06, validation 0.05"
    assert lines.line(20.0, 20, 100) == "<a> 20 of 100 steps, loss 0.06, validation 0.05"
    many = LogLines("", True)
    many.begun = (0.0, 0.0)
    assert many.line(7200.0, 12.4, 100) == "12 of 100 concepts, 14:07:44 left"


def test_what_is_seen_live(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ti_trainer.training.gauges
    for is_terminal in (False, True):
        monkeypatch.setattr("sys.stderr", type("Stream", (), {"isatty": lambda self: is_terminal})())  # noqa: B023
        assert module.is_seen_live() == is_terminal
    from tqdm.notebook import tqdm as of_notebooks

    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr(module, "tqdm", of_notebooks)
    assert module.is_seen_live()
