"""The tab on which a learned word is tried, compared, measured and taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..errors import BadInput
from .answers import answering
from .forms import plain
from .runs_tab import opened

if TYPE_CHECKING:
    from .studio import Studio

Tab = tuple[Callable[..., Any], Sequence[Any]]


def look_tab(studio: Studio, timer: gr.Timer) -> Tab:
    """Draws the tab; returns what shows the finished runs, and the components that it fills."""
    run = gr.Dropdown(label="Learned word", choices=[], elem_id="learned")
    before_after = gr.Image(label="Before and after", interactive=False, elem_id="before-after", visible=False)
    with gr.Accordion("Try prompts", open=True):
        prompts = gr.Textbox(
            label="Prompts, one in each line; {token} is the word",
            value="a photo of a {token}\na photo of a {token} on the beach",
            lines=3,
            elem_id="prompts",
        )
        negative = gr.Textbox(label="Negative prompt", elem_id="negative")
        with gr.Row():
            seed = gr.Number(label="First seed", value=0, precision=0, elem_id="seed")
            count = gr.Slider(1, 8, value=1, step=1, label="Seeds", elem_id="seeds")
            steps = gr.Slider(1, 100, value=20, step=1, label="Denoising steps", elem_id="steps")
            guidance = gr.Slider(0, 20, value=5, step=0.5, label="Guidance", elem_id="guidance")
        draw = gr.Button("Draw", variant="primary", elem_id="draw")
        drawn = gr.Gallery(label="Pictures", columns=4, elem_id="drawn", format="png")
    with gr.Accordion("Compare steps", open=False):
        with gr.Row():
            left = gr.Dropdown(label="Step", choices=[], elem_id="left")
            right = gr.Dropdown(label="Other step", choices=[], elem_id="right")
        slider = gr.ImageSlider(label="What the two steps draw", interactive=False, elem_id="slider")
    with gr.Accordion("Measure", open=False):
        checkpoints = gr.Checkbox(label="its checkpoints too", elem_id="checkpoints")
        measure = gr.Button("Evaluate", elem_id="evaluate")
        figures = gr.Textbox(label="Figures", lines=12, interactive=False, elem_id="figures")
        sheet = gr.Image(label="Pictures of the evaluation", interactive=False, elem_id="evaluated")
    with gr.Accordion("Take it away", open=True):
        where = gr.Markdown(elem_id="where")
        form = gr.Dropdown(choices=[], label="Format", elem_id="format")
        make = gr.Button("Make the files", elem_id="convert")
        files = gr.File(label="Files", interactive=False, elem_id="files")
        about = gr.Textbox(label="How it is used", interactive=False, elem_id="about")
    with gr.Accordion("Publish on the Hugging Face hub", open=False):
        to = gr.Textbox(label="OWNER/NAME", elem_id="publish-to")
        public = gr.Checkbox(label="Let everybody see it", elem_id="public")
        publish = gr.Button("Publish", elem_id="publish")
        address = gr.Markdown(elem_id="address")
    state = gr.State(None)

    def refresh(before: Any = None) -> list[Any]:
        names = studio.shelf.finished()
        forms = studio.shelf.formats
        form = gr.Dropdown(choices=forms, value=forms[0]) if before is None else gr.skip()
        return [gr.skip() if names == before else gr.Dropdown(choices=names), form, names]

    @answering
    def choose(name: str | None) -> list[Any]:
        if not name:
            return [gr.Image(visible=False), "", gr.Dropdown(choices=[]), gr.Dropdown(choices=[])]
        kept = studio.shelf.files(name)
        lines = [f"- **{program}**: {plain(advice)}" for program, advice in studio.shelf.where_it_goes(name)]
        found = [str(step) for step in kept.preview_steps()]
        ends = [gr.Dropdown(choices=found, value=found[end] if found else None) for end in (0, -1)]
        there = kept.before_after.exists()
        return [gr.Image(value=opened(kept.before_after), visible=there), "\n".join(lines), *ends]

    @answering
    def compare(name: str | None, one: str | None, other: str | None) -> Any:
        if not (name and one and other):
            return None
        kept = studio.shelf.files(name)
        return tuple(opened(kept.preview(int(step), 1)) for step in (one, other))

    @answering
    def draw_them(name: str, text: str, unwanted: str, first: float, many: float, work: float, scale: float) -> Any:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        seeds = range(int(first), int(first) + int(many))
        return studio.painter.draw(needed(name), lines, unwanted, seeds, int(work), float(scale))

    @answering
    def evaluate(name: str, with_checkpoints: bool) -> list[Any]:
        said, picture = studio.shelf.evaluate(needed(name), with_checkpoints)
        return [said, opened(picture)]

    @answering
    def convert(name: str, to: str) -> list[Any]:
        made, said = studio.shelf.convert(needed(name), to, studio.work / "downloads" / needed(name) / to)
        return [list(map(str, made)), "\n".join(shortened(line, made) for line in said.splitlines())]

    @answering
    def send(name: str, to: str, everybody: bool) -> str:
        return f"It is at {plain(studio.shelf.publish(needed(name), to, everybody))}"

    timer.tick(refresh, state, [run, form, state], show_progress="hidden")
    run.change(choose, run, [before_after, where, left, right])
    for each in (left, right):
        each.change(compare, [run, left, right], slider)
    draw.click(draw_them, [run, prompts, negative, seed, count, steps, guidance], drawn)
    measure.click(evaluate, [run, checkpoints], [figures, sheet])
    make.click(convert, [run, form], [files, about])
    publish.click(send, [run, to, public], address)
    return refresh, [run, form, state]


def needed(name: str | None) -> str:
    """The run that was chosen; raises BadInput where none was."""
    if not name:
        raise BadInput("choose a learned word first")
    return name


def shortened(line: str, files: Sequence[Path]) -> str:
    """A line without the folders in which the server keeps what is downloaded."""
    for file in files:
        line = line.replace(str(file), file.name)
    return line
