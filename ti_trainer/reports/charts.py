"""Curves as the numbers of an inline SVG: the template draws them, so they take the page's colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .curves import NEAR_A_WORD, Curves, Points

# of a chart, in the units of its viewBox
WIDTH = 480
HEIGHT = 230
LEFT = 52
RIGHT = 14
TOP = 12
BOTTOM = 30

MOST_POINTS = 400  # of a line: more than a screen shows
MOST_DOTS = 40
TICKS = 4


@dataclass(frozen=True)
class Line:
    style: str  # "faint", "strong" or "dotted": a class in the page
    points: str  # as `points` of a polyline has them
    name: str = ""


@dataclass(frozen=True)
class Mark:
    """One point, with what is told of it when the pointer rests there."""

    x: float
    y: float
    text: str
    style: str  # "dot" or "best"


@dataclass(frozen=True)
class Chart:
    title: str
    lines: list[Line]
    marks: list[Mark]
    across: list[tuple[float, str]]  # ticks of the steps: place, label
    up: list[tuple[float, str]]  # ticks of the values


def charts_of(curves: Curves) -> list[Chart]:
    """The charts of a run; those of which nothing is known yet are left out."""
    best = {curves.best: f"saved: step {curves.best[0]}, {curves.best[1]:.5f}"} if curves.best else {}
    charts = []
    if curves.loss:
        lines = {"faint": curves.loss, "strong": curves.smooth}
        charts.append(chart("Training loss, each step and smoothed", lines))
    if curves.measured:
        lines = {"strong": curves.measured}
        charts.append(chart("Loss under fixed noise", lines, start_of(curves), dots=curves.measured, best=best))
    if curves.length:
        title = "Length of the rows (a word's is 1)"
        charts.append(chart(title, {"strong": curves.length}, 1.0, also=NEAR_A_WORD))
    if curves.angle:
        charts.append(chart("Degrees from the start", {"strong": curves.angle}))
    return charts


def start_of(curves: Curves) -> float | None:
    """The loss under fixed noise at step 0."""
    return curves.measured[0][1] if curves.measured and curves.measured[0][0] == 0 else None


def chart(
    title: str,
    lines: Mapping[str, Points],
    level: float | None = None,
    dots: Sequence[tuple[int, float]] = (),
    best: Mapping[tuple[int, float], str] | None = None,
    also: Sequence[float] = (),
) -> Chart:
    """Lines by their style; level: of a dotted line; best: named points; also: values that are to be in sight."""
    every = [point for points in lines.values() for point in points]
    across = Scale([step for step, _ in every], LEFT, WIDTH - RIGHT)
    levels = [] if level is None else [level]
    up = Scale([*(value for _, value in every), *levels, *also], HEIGHT - BOTTOM, TOP)

    def place(points: Points) -> str:
        return " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in thinned(points))

    drawn = [Line(style, place(points)) for style, points in lines.items()]
    if level is not None:
        drawn.append(Line("dotted", place([(across.low_step, level), (across.high_step, level)])))
    marks = [Mark(across(x), up(y), f"step {x}: {y:.5g}", "dot") for x, y in dots if len(dots) <= MOST_DOTS]
    marks += [Mark(across(x), up(y), text, "best") for (x, y), text in (best or {}).items()]
    steps = [(across(tick), f"{tick:g}") for tick in across.ticks() if tick == round(tick)]
    return Chart(title, drawn, marks, steps, [(up(tick), f"{tick:g}") for tick in up.ticks()])


class Scale:
    """Values to places along one side of a chart."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low = min(values)
        high = max(values)
        margin = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
        self.low = low - margin
        self.high = high + margin
        self.low_step = int(low)
        self.high_step = int(high)
        self.start = start
        self.end = end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values, about TICKS of them."""
        rough = (self.high - self.low) / TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.7 * rough)
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step)
        return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def thinned(points: Points) -> Points:
    """Every n-th point and the last one, MOST_POINTS or a few more."""
    step = max(1, len(points) // MOST_POINTS)
    return [*points[:-1:step], *points[-1:]]
