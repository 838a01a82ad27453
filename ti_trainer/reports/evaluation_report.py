"""An evaluation as a table, as JSON, and as pictures."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..files.atomic import write_bytes
from ..method.bootstrap import LEVEL
from .arms import Arm, Subject, export_checkpoint
from .dataset_report import counted
from .evaluation import BEST, Evaluation, choose_checkpoint, judges_of_best
from .grids import grid, save_image
from .plots import plot_checkpoints
from .run_report import with_evaluation

REAL = "real pictures"
TITLE = 11  # letters of a line in the titles of a sheet's rows


def write_report(subject: Subject, evaluation: Evaluation, folder: Path, best: str | None = None) -> dict[str, Any]:
    """Write pictures.png, evaluation.json and, of a run's checkpoints, curve.png and the best one; returns the figures.

    They also come into the report of a run, where it has one.

    best: a key of evaluation.BEST, where checkpoints were evaluated.
    """
    figures = figures_of(subject, evaluation)
    sheet = picture_sheet(evaluation)
    save_image(sheet, folder / "pictures.png")
    if best:
        arm, reason = choose_checkpoint(evaluation, best)
        assert arm.step is not None
        file = folder / f"{subject.embedding.stem}.safetensors"
        export_checkpoint(subject, arm.step, reason, file)
        figures["best"] = {"arm": arm.name, "step": arm.step, "by": reason, "file": str(file)}
        if set(BEST["both"]) <= {measure for _, measure in evaluation.measures()}:
            draw_curve(evaluation, folder / "curve.png")
    write_bytes(json.dumps(figures, indent=1).encode(), folder / "evaluation.json")
    if subject.report and subject.report.is_file():
        page = with_evaluation(subject.report.read_text(encoding="utf-8"), figures, sheet)
        write_bytes(page.encode(), subject.report)
    return figures


def figures_of(subject: Subject, evaluation: Evaluation) -> dict[str, Any]:
    """Everything that was measured, and with what, as JSON has it."""
    drawing = evaluation.drawing
    return {
        "embedding": subject.name,
        "token": subject.embedding.token,
        "word": drawing.word,
        "model": drawing.model,
        "prompts": [prompt.template for prompt in drawing.prompts],
        "seeds": list(drawing.seeds),
        "steps": drawing.steps,
        "guidance": drawing.guidance,
        "references": len(evaluation.references),
        "masked": evaluation.masked,
        "judges": [{"name": j.name, "kind": j.kind, "revision": j.revision} for j in evaluation.judges],
        "level": LEVEL,
        "figures": [figure(evaluation, judge, measure) for judge, measure in evaluation.measures()],
    }


def figure(evaluation: Evaluation, judge: int, measure: str) -> dict[str, Any]:
    """One measure of all arms, and how much more the first arm has than each of the others."""
    first, *others = evaluation.arms
    judged = evaluation.judges[judge]
    differences = evaluation.differences(others, judge, measure)
    return {
        "judge": judged.name,
        "measure": measure,
        "pictures": len(evaluation.values[first.name][judge][measure]),
        "real": judged.real().get(measure),
        "means": {arm.name: evaluation.mean(arm, judge, measure) for arm in evaluation.arms},
        "differences": {
            other.name: {"checkpoint": other.step is not None, "mean": mean, "low": low, "high": high}
            for other, (mean, low, high) in zip(others, differences, strict=True)
        },
    }


def report_text(figures: Mapping[str, Any], as_json: bool) -> str:
    """The figures as text for a person, or as JSON."""
    if as_json:
        return json.dumps(figures)
    prompts, seeds = counted(len(figures["prompts"]), "prompt"), counted(len(figures["seeds"]), "seed")
    best = figures.get("best")
    lines = [
        f'{figures["token"]} on {figures["model"]}, a "{figures["word"]}": {prompts}, each from {seeds}; '
        f"{figures['steps']} steps, guidance {figures['guidance']:g}",
        f"{counted(figures['references'], 'picture of the concept')}, {figures['masked']} of them masked",
    ]
    for judge in figures["judges"]:
        own = [each for each in figures["figures"] if each["judge"] == judge["name"]]
        lines += ["", f"{judge['name']} ({judge['kind']}, {judge['revision']})", *table(own, best and best["arm"])]
    for other, first in figures["figures"][0]["differences"].items():
        if not first["checkpoint"] or (best and best["arm"] == other):
            lines += ["", *differences(figures, other)]
    if best:
        lines += ["", f"best checkpoint by {best['by']}: {best['arm']}, written to {best['file']}"]
    return "\n".join(lines)


def table(own: Sequence[Mapping[str, Any]], best: str | None) -> list[str]:
    """The means of one judge's measures, an arm in each line, and what real pictures have; best: the arm to mark."""
    first, *others = own[0]["means"]
    rows = {first: [each["means"][first] for each in own]}
    if any(each["real"] is not None for each in own):
        rows[REAL] = [each["real"] for each in own]
    rows |= {name: [each["means"][name] for each in own] for name in others}
    width = max(map(len, rows))
    columns = [max(6, len(each["measure"])) for each in own]
    lines = [" " * (width + 4) + "  ".join(each["measure"].rjust(c) for each, c in zip(own, columns, strict=True))]
    for name, values in rows.items():
        cells = ["" if value is None else f"{value:.3f}" for value in values]
        shown = "  ".join(cell.rjust(c) for cell, c in zip(cells, columns, strict=True))
        lines.append(f"{'>' if name == best else ' '} {name:{width}}  {shown}".rstrip())
    return lines


def differences(figures: Mapping[str, Any], other: str) -> list[str]:
    """How much more the first arm has than another one, a measure in each line."""
    labels = [f"{each['judge']}: {each['measure']}" for each in figures["figures"]]
    title = f"{figures['token']} less {other}"
    width = max(map(len, [title, *labels]))
    lines = [f"{title:{width}}  difference  {figures['level']:.0%} interval"]
    for label, each in zip(labels, figures["figures"], strict=True):
        found = each["differences"][other]
        lines.append(f"{label:{width}}      {found['mean']:+.3f}  {found['low']:+.3f} to {found['high']:+.3f}")
    return lines


def picture_sheet(evaluation: Evaluation) -> Image.Image:
    """The real pictures, and the first seed of each arm, a prompt in each column."""
    prompts = [prompt.template for prompt in evaluation.drawing.prompts]
    rows = [(REAL, evaluation.references[: len(prompts)])]
    rows += [(arm.name, evaluation.shown[arm.name]) for arm in evaluation.arms]
    return grid([(textwrap.fill(name, TITLE), images) for name, images in rows], prompts)


def draw_curve(evaluation: Evaluation, file: Path) -> None:
    """Identity against prompt of every arm; checkpoints are joined by a line."""
    (identity, prompt) = judges_of_best(evaluation.judges, "both")

    def point(arm: Arm) -> tuple[float, float]:
        return evaluation.mean(arm, *prompt), evaluation.mean(arm, *identity)

    named = {arm.name: point(arm) for arm in evaluation.arms if arm.step is None}
    steps = {arm.step: point(arm) for arm in evaluation.arms if arm.step is not None}
    labels = [f"{measure} ({evaluation.judges[judge].name})" for judge, measure in (prompt, identity)]
    plot_checkpoints(steps, named, labels, file)
