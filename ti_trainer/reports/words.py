"""What a search for words has found, as a table."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from ..method.suggest import Reading, Step

KINDS = {  # by Step.kind
    "word": "one word",
    "scene": "where it is",
    "thing": "one more word",
    "order": "which word is last",
    "part": "what it has",
    "name": "another name for it",
}


def words_text(steps: Sequence[Step], pictures: int, seconds: float) -> str:
    """Each step's best texts with loss, fall and standard error, then the phrase and how training starts from it."""
    lines = []
    for step in steps:
        lines.append(f"{KINDS[step.kind]:46} loss      falls by    +-        draws")
        lines += [reading_line(reading, reading.phrase == step.phrase) for reading in step.ranking]
    last = steps[-1]
    phrase = last.phrase
    scene = f" --scene {shlex.quote(phrase.scene)}" if phrase.scene else ""
    lines += [
        f"{phrase.text}: from {pictures} pictures in {last.passes} passes and {seconds:.0f} s",
        f"ti-trainer train --init {shlex.quote(phrase.subject)}{scene}",
    ]
    return "\n".join(lines)


def reading_line(reading: Reading, is_chosen: bool) -> str:
    mark = ">" if is_chosen else " "
    figures = f"{reading.loss:.5f}  {reading.fall:+.5f}  {reading.error:.5f}  {reading.draws:6}"
    return f"{mark} {reading.phrase.text:44} {figures}"


def words_as_json(steps: Sequence[Step], pictures: int, seconds: float) -> str:
    last = steps[-1]
    figures: dict[str, Any] = {
        "phrase": last.phrase.subject,
        "words": list(last.phrase.words),
        "part": list(last.phrase.part),
        "scene": last.phrase.scene,
        "pictures": pictures,
        "passes": last.passes,
        "seconds": round(seconds, 3),
        "steps": [
            {"kind": step.kind, "phrase": step.phrase.text, "ranking": [entry(each) for each in step.ranking]}
            for step in steps
        ],
    }
    return json.dumps(figures)


def entry(reading: Reading) -> dict[str, Any]:
    return {
        "text": reading.phrase.text,
        "loss": reading.loss,
        "fall": reading.fall,
        "error": reading.error,
        "draws": reading.draws,
    }
