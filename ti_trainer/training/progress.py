"""How a command tells what goes on, by the name that the user gives."""

from __future__ import annotations

import time
from collections.abc import Callable

from .console import Console, Silence, SingleTerminal, Terminal
from .gauges import Bar, Gauge, LogLines
from .json_lines import JsonLines

GAUGES: dict[str, Callable[[str, bool], Gauge] | None] = {"auto": None, "bar": Bar, "lines": LogLines}


def console_for(progress: str, is_list: bool) -> Console:
    """The console of a job that begins now; progress: one of PROGRESS."""
    if progress == "none":
        return Silence()
    if progress == "json":
        return JsonLines()
    started = time.perf_counter()
    terminal = Terminal if is_list else SingleTerminal
    return terminal(started, GAUGES[progress])
