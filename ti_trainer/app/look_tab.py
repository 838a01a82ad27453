"""The tab on which a learned word is tried, compared, measured and taken away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..errors import BadInput
from .answers import answering
from .forms import plain
from .runs_tab import opened

if TYPE_CHECKING:
    from .studio import Studio

PROMPTS = "a photo of a {token}\na photo of a {token} on the beach"


class LookTab:
    """The tab: `refresh` shows the learned words there are in the components of `shown`."""

    def __init__(self, studio: Studio, timer: gr.Timer) -> None:
        self.studio = studio
        self.run = gr.Dropdown(label="Learned word", choices=[], elem_id="learned")
        self.before_after = gr.Image(label="Before and after", interactive=False, elem_id="before-after", visible=False)
        self.draw_prompts()
        self.draw_comparisons()
        self.draw_files()
        self.state = gr.State(None)  # the runs that this browser has been shown
        self.shown: list[Any] = [self.run, self.form, self.state]
        timer.tick(self.refresh, self.state, self.shown, show_progress="hidden")
        self.run.change(self.choose, self.run, [self.before_after, self.where, self.left, self.right])
        self.connect_pictures()
        self.connect_files()

    def draw_prompts(self) -> None:
        with gr.Accordion("Try prompts", open=True):
            self.prompts = gr.Textbox(
                label="Prompts, one in each line; {token} is the word", value=PROMPTS, lines=3, elem_id="prompts"
            )
            self.negative = gr.Textbox(label="Negative prompt", elem_id="negative")
            with gr.Row():
                self.seed = gr.Number(label="First seed", value=0, precision=0, elem_id="seed")
                self.count = gr.Slider(1, 8, value=1, step=1, label="Seeds", elem_id="seeds")
                self.steps = gr.Slider(1, 100, value=20, step=1, label="Denoising steps", elem_id="steps")
                self.guidance = gr.Slider(0, 20, value=5, step=0.5, label="Guidance", elem_id="guidance")
            self.draw = gr.Button("Draw", variant="primary", elem_id="draw")
            self.drawn = gr.Gallery(label="Pictures", columns=4, elem_id="drawn", format="png")

    def draw_comparisons(self) -> None:
        with gr.Accordion("Compare steps", open=False):
            with gr.Row():
                self.left = gr.Dropdown(label="Step", choices=[], elem_id="left")
                self.right = gr.Dropdown(label="Other step", choices=[], elem_id="right")
            self.slider = gr.ImageSlider(label="What the two steps draw", interactive=False, elem_id="slider")
        with gr.Accordion("Measure", open=False):
            self.checkpoints = gr.Checkbox(label="its checkpoints too", elem_id="checkpoints")
            self.measure = gr.Button("Evaluate", elem_id="evaluate")
            self.figures = gr.Textbox(label="Figures", lines=12, interactive=False, elem_id="figures")
            self.sheet = gr.Image(label="Pictures of the evaluation", interactive=False, elem_id="evaluated")

    def draw_files(self) -> None:
        with gr.Accordion("Take it away", open=True):
            self.where = gr.Markdown(elem_id="where")
            self.form = gr.Dropdown(choices=[], label="Format", elem_id="format")
            self.make = gr.Button("Make the files", elem_id="convert")
            self.files = gr.File(label="Files", interactive=False, elem_id="files")
            self.about = gr.Textbox(label="How it is used", interactive=False, elem_id="about")
        with gr.Accordion("Publish on the Hugging Face hub", open=False):
            self.to = gr.Textbox(label="OWNER/NAME", elem_id="publish-to")
            self.public = gr.Checkbox(label="Let everybody see it", elem_id="public")
            self.publish = gr.Button("Publish", elem_id="publish")
            self.address = gr.Markdown(elem_id="address")

    def refresh(self, before: Any = None) -> list[Any]:
        """What is shown; before: the runs that this browser has, None for nothing."""
        names = self.studio.shelf.finished()
        forms = self.studio.shelf.formats
        form = gr.Dropdown(choices=forms, value=forms[0]) if before is None else gr.skip()
        return [gr.skip() if names == before else gr.Dropdown(choices=names), form, names]

    def choose(self, name: str | None) -> list[Any]:
        """What is there of a run: before and after, where its file goes, and its first and last pictures."""
        if not name:
            return [gr.Image(visible=False), "", gr.Dropdown(choices=[]), gr.Dropdown(choices=[])]
        kept = self.studio.shelf.files(name)
        lines = [f"- **{program}**: {plain(advice)}" for program, advice in self.studio.shelf.where_it_goes(name)]
        found = [str(step) for step in kept.preview_steps()]
        ends = [gr.Dropdown(choices=found, value=found[end] if found else None) for end in (0, -1)]
        there = kept.before_after.exists()
        return [gr.Image(value=opened(kept.before_after), visible=there), "\n".join(lines), *ends]

    def connect_pictures(self) -> None:
        studio = self.studio

        @answering
        def draw(name: str, text: str, unwanted: str, first: float, many: float, work: float, scale: float) -> Any:
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            seeds = range(int(first), int(first) + int(many))
            return studio.painter.draw(needed(name), lines, unwanted, seeds, int(work), float(scale))

        @answering
        def compare(name: str | None, one: str | None, other: str | None) -> Any:
            if not (name and one and other):
                return None
            kept = studio.shelf.files(name)
            return tuple(opened(kept.preview(int(step), 1)) for step in (one, other))

        @answering
        def evaluate(name: str, with_checkpoints: bool) -> list[Any]:
            said, picture = studio.shelf.evaluate(needed(name), with_checkpoints)
            return [said, opened(picture)]

        drawing = [self.prompts, self.negative, self.seed, self.count, self.steps, self.guidance]
        self.draw.click(draw, [self.run, *drawing], self.drawn)
        for each in (self.left, self.right):
            each.change(compare, [self.run, self.left, self.right], self.slider)
        self.measure.click(evaluate, [self.run, self.checkpoints], [self.figures, self.sheet])

    def connect_files(self) -> None:
        studio = self.studio

        @answering
        def convert(name: str, to: str) -> list[Any]:
            made, said = studio.shelf.convert(needed(name), to, studio.work / "downloads" / needed(name) / to)
            return [list(map(str, made)), "\n".join(shortened(line, made) for line in said.splitlines())]

        @answering
        def send(name: str, to: str, everybody: bool) -> str:
            return f"It is at {plain(studio.shelf.publish(needed(name), to, everybody))}"

        self.make.click(convert, [self.run, self.form], [self.files, self.about])
        self.publish.click(send, [self.run, self.to, self.public], self.address)


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
