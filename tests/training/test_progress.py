"""The ways to be told what goes on."""

from __future__ import annotations

from ti_trainer.config.config import PROGRESS
from ti_trainer.training.console import Silence, SingleTerminal, Terminal
from ti_trainer.training.gauges import Bar, LogLines
from ti_trainer.training.json_lines import JsonLines
from ti_trainer.training.progress import GAUGES, console_for


def test_every_way_has_its_console() -> None:
    kinds = {name: type(console_for(name, True)) for name in PROGRESS}
    assert kinds == {"auto": Terminal, "bar": Terminal, "lines": Terminal, "json": JsonLines, "none": Silence}
    assert [type(console_for(name, False)) for name in GAUGES] == [SingleTerminal] * 3
    assert {*GAUGES, "json", "none"} == set(PROGRESS)


def test_how_a_terminal_shows_it() -> None:
    shown = {}
    for name in GAUGES:
        console = console_for(name, True)
        assert isinstance(console, Terminal)
        shown[name] = type(console.gauge)
    assert shown == {"auto": LogLines, "bar": Bar, "lines": LogLines}  # tests have no terminal
