"""The tab of what is trained, and of all runs of the output folder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from ..errors import BadInput
from ..files.wording import told
from .answers import answering
from .forms import as_markdown, plain

if TYPE_CHECKING:
    from .run_queue import Job
    from .studio import Studio


class RunsTab:
    """The tab: `refresh` shows the runs as they are in the components of `shown`, again and again."""

    def __init__(self, studio: Studio, timer: gr.Timer) -> None:
        self.studio = studio
        self.draw_work()
        self.draw_runs()
        self.state = gr.State(None)  # what this browser has been shown: pictures are sent only where they are others
        work: list[Any] = [self.now, self.bar, self.plot, self.previews, self.stop]
        self.shown: list[Any] = [*work, self.table, self.run, self.state]
        timer.tick(self.refresh, self.state, self.shown, show_progress="hidden")
        self.connect_runs()
        self.connect_deletion()

    def draw_work(self) -> None:
        gr.Markdown("### At work")
        self.now = gr.Markdown("Nothing is being trained.", elem_id="now")
        self.bar = gr.HTML(elem_id="bar")
        with gr.Row():
            self.plot = gr.Image(label="Loss and length", interactive=False, elem_id="plot", visible=False)
            self.previews = gr.Image(label="Previews", interactive=False, elem_id="previews", visible=False)
        self.stop = gr.Button("Stop and save", variant="stop", elem_id="stop", interactive=False)

    def draw_runs(self) -> None:
        gr.Markdown("### All runs")
        self.table = gr.Dataframe(headers=["run", "word", "state", "how it stands"], interactive=False, elem_id="runs")
        self.run = gr.Dropdown(label="Run", choices=[], elem_id="run")
        with gr.Row():
            self.report = gr.Button("Show its report", elem_id="report")
            self.resume = gr.Button("Go on", elem_id="resume")
            self.delete = gr.Button("Delete", variant="stop", elem_id="delete")
        with gr.Group(visible=False) as self.sure:
            self.question = gr.Markdown(elem_id="question")
            with gr.Row():
                self.yes = gr.Button("Yes, delete it", variant="stop", elem_id="yes")
                self.no = gr.Button("No", elem_id="no")
        self.answer = gr.Markdown(elem_id="runs-answer")
        self.page = gr.HTML(elem_id="report-page")

    def refresh(self, before: Any = None) -> list[Any]:
        """All that is shown; before: what this browser has, None for nothing."""
        job = self.studio.queue.at_work()
        rows = rows_of(self.studio)
        names = [row[0] for row in rows]
        waiting = [each.name for each in self.studio.queue.open_jobs() if each is not job]
        sheet = job.folder / "previews.png" if job else None
        stamp = stamp_of(sheet)
        drawn = hash(job.plot) if job and job.plot else None
        key = (names, drawn, stamp)
        is_new = [before is None or now != before[place] for place, now in enumerate(key)]
        return [
            describe(job, waiting),
            progress_bar(job),
            picture(job.plot if job else None) if is_new[1] else gr.skip(),
            gr.Image(value=opened(sheet), visible=stamp is not None) if is_new[2] else gr.skip(),
            gr.Button(interactive=job is not None),
            rows,
            gr.Dropdown(choices=names) if is_new[0] else gr.skip(),
            key,
        ]

    def connect_runs(self) -> None:
        studio = self.studio

        @answering
        def stop() -> str:
            job = studio.queue.at_work()
            if job is None:
                raise BadInput("nothing is being trained")
            studio.queue.stop(job.name)
            return f"**{plain(job.name)}** ends after its step, and everything is saved."

        @answering
        def go_on(name: str) -> str:
            return f"**{plain(studio.resume(name).name)}** is in the queue."

        @answering
        def show_report(name: str) -> str:
            file = studio.shelf.files(name).report
            if not file.exists():
                raise BadInput(f"{name} has no report yet")
            content = escape(file.read_text(encoding="utf-8"), quote=True)
            # a sandbox without this page's origin: what the report holds reaches nothing here
            return (
                f'<iframe title="report of {escape(name)}" sandbox="allow-scripts" srcdoc="{content}" '
                'style="width:100%;height:80vh;border:1px solid #8888"></iframe>'
            )

        self.stop.click(stop, None, self.answer)
        self.resume.click(go_on, self.run, self.answer)
        self.report.click(show_report, self.run, self.page)

    def connect_deletion(self) -> None:
        @answering
        def ask(name: str) -> list[Any]:
            self.studio.shelf.folder(name)
            return [gr.Group(visible=True), f"Delete **{plain(name)}** with all its files? There is no way back."]

        @answering
        def delete(name: str) -> list[Any]:
            self.studio.delete(name)
            return [gr.Group(visible=False), f"**{plain(name)}** is deleted.", gr.Dropdown(value=None), ""]

        self.delete.click(ask, self.run, [self.sure, self.question])
        self.no.click(lambda: gr.Group(visible=False), None, self.sure)
        self.yes.click(delete, self.run, [self.sure, self.answer, self.run, self.page])


def rows_of(studio: Studio) -> list[list[str]]:
    """Name, word, state and how it stands of every run: of the queue and of the folder."""
    jobs = studio.queue.latest()
    names = list(dict.fromkeys([*(name for name, job in jobs.items()), *studio.shelf.names()]))
    rows = []
    for name in names:
        job = jobs.get(name)
        try:
            config = job.config if job else studio.shelf.config(name)
            state = job.state if job else studio.shelf.state(name)
            rows.append([name, config.concept.trigger, state, job.line() if job else f"{config.steps} steps"])
        except (BadInput, OSError) as problem:
            rows.append([name, "", "damaged", told(problem)])
    return rows


def describe(job: Job | None, waiting: Sequence[str]) -> str:
    """What is said of the run at work, and of those behind it."""
    if job is None:
        return "Nothing is being trained." if not waiting else "The next one begins."
    lines = [f"**{plain(job.name)}**: {plain(job.line())}"]
    lines += [f"behind it: {plain(', '.join(waiting))}"] if waiting else []
    return "\n\n".join([*lines, as_markdown(list(job.notes)[-4:], "It says")])


def progress_bar(job: Job | None) -> str:
    """How far the run is, as HTML."""
    if job is None:
        return ""
    share = 100 * job.step / job.config.steps
    return (
        f'<progress aria-label="steps of {escape(job.name)}" max="100" value="{share:.1f}" '
        'style="width:100%;height:1.2em"></progress>'
    )


def picture(payload: bytes | None) -> Any:
    """A picture of the page; hidden where there is none."""
    return gr.Image(value=Image.open(io.BytesIO(payload)) if payload else None, visible=payload is not None)


def stamp_of(file: Path | None) -> int | None:
    try:
        return file.stat().st_mtime_ns if file else None
    except OSError:
        return None


def opened(file: Path | None) -> Image.Image | None:
    """A picture as it is now: the file is written anew later."""
    if file is None or not file.exists():
        return None
    with Image.open(file) as image:
        return image.convert("RGB")
