"""The tab of what is trained, and of all runs of the output folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
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

Tab = tuple[Callable[..., Any], Sequence[Any]]


def runs_tab(studio: Studio, timer: gr.Timer) -> Tab:
    """Draws the tab; returns what shows the runs as they are, and the components that it fills."""
    gr.Markdown("### At work")
    now = gr.Markdown("Nothing is being trained.", elem_id="now")
    bar = gr.HTML(elem_id="bar")
    with gr.Row():
        plot = gr.Image(label="Loss and length", interactive=False, elem_id="plot", visible=False)
        previews = gr.Image(label="Previews", interactive=False, elem_id="previews", visible=False)
    stop = gr.Button("Stop and save", variant="stop", elem_id="stop", interactive=False)
    gr.Markdown("### All runs")
    table = gr.Dataframe(headers=["run", "word", "state", "how it stands"], interactive=False, elem_id="runs")
    run = gr.Dropdown(label="Run", choices=[], elem_id="run")
    with gr.Row():
        report = gr.Button("Show its report", elem_id="report")
        resume = gr.Button("Go on", elem_id="resume")
        delete = gr.Button("Delete", variant="stop", elem_id="delete")
    with gr.Group(visible=False) as sure:
        question = gr.Markdown(elem_id="question")
        with gr.Row():
            yes = gr.Button("Yes, delete it", variant="stop", elem_id="yes")
            no = gr.Button("No", elem_id="no")
    answer = gr.Markdown(elem_id="runs-answer")
    page = gr.HTML(elem_id="report-page")

    shown = [now, bar, plot, previews, stop, table, run]
    state = gr.State(None)

    def refresh(before: Any = None) -> list[Any]:
        """All that is shown; the pictures and the list only where they are others than this browser has."""
        job = studio.queue.at_work()
        rows = rows_of(studio)
        names = [row[0] for row in rows]
        waiting = [each.name for each in studio.queue.open_jobs() if each is not job]
        sheet = job.folder / "previews.png" if job else None
        stamp = stamp_of(sheet)
        known = before or (None, None, None)
        key = (names, job and len(job.records) and job.plot and hash(job.plot), stamp)
        curve = gr.skip() if key[1] == known[1] and before else picture(job.plot if job else None)
        drawn = gr.skip() if key[2] == known[2] and before else gr.Image(value=opened(sheet), visible=stamp is not None)
        choices = gr.skip() if key[0] == known[0] and before else gr.Dropdown(choices=names)
        said = describe(job, waiting)
        return [said, progress_bar(job), curve, drawn, gr.Button(interactive=job is not None), rows, choices, key]

    @answering
    def stop_it() -> str:
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

    @answering
    def ask(name: str) -> list[Any]:
        studio.shelf.folder(name)
        return [gr.Group(visible=True), f"Delete **{plain(name)}** with all its files? There is no way back."]

    @answering
    def delete_it(name: str) -> list[Any]:
        studio.delete(name)
        return [gr.Group(visible=False), f"**{plain(name)}** is deleted.", gr.Dropdown(value=None), ""]

    timer.tick(refresh, state, [*shown, state], show_progress="hidden")
    stop.click(stop_it, None, answer)
    resume.click(go_on, run, answer)
    report.click(show_report, run, page)
    delete.click(ask, run, [sure, question])
    no.click(lambda: gr.Group(visible=False), None, sure)
    yes.click(delete_it, run, [sure, answer, run, page])
    return refresh, [*shown, state]


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
