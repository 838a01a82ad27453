"""The tab on which pictures are chosen and a run is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from ..config.bundled import TINY_SD
from ..config.concept import TEMPLATE_NAMES
from .answers import answering
from .forms import QUALITIES, as_markdown, setting_fields, values_of

if TYPE_CHECKING:
    from .studio import Look, Studio

Tab = tuple[Callable[..., Any], Sequence[Any]]
COLUMNS = ["file", "called", "caption"]


def learn_tab(studio: Studio) -> Tab:
    """Draws the tab; returns what shows the draft as it is, and the components that it fills."""
    gr.Markdown("### Pictures")
    with gr.Row():
        files = gr.File(
            label="Drop pictures here (captions as cat.txt and masks as cat.mask.png beside cat.png)",
            file_count="multiple",
            elem_id="pictures",
        )
        with gr.Column():
            folder = gr.Textbox(label="or the path of a folder on this machine", elem_id="folder")
            with gr.Row():
                take_folder = gr.Button("Take the folder", elem_id="take-folder")
                clear = gr.Button("Take all out", elem_id="clear", variant="stop")
    said = gr.Markdown(elem_id="dataset")
    seen = "What training sees: frame, mask, caption"
    sheet = gr.Image(label=seen, show_label=False, interactive=False, elem_id="sheet", visible=False)
    with gr.Accordion("Captions", open=False):
        gr.Markdown("A caption says what else is in a picture: `{token} in a garden`. Without one, templates are used.")
        captions = gr.Dataframe(
            headers=COLUMNS,
            datatype=["str", "str", "str"],
            static_columns=[0, 1],
            type="array",
            interactive=True,
            elem_id="captions",
            label="Captions, edited in place",
        )
    with gr.Accordion("Masks", open=False):
        gr.Markdown("Paint over the thing itself, or upload a mask (white is the thing). The rest is hardly learned.")
        chosen = gr.Dropdown(label="Picture", choices=[], elem_id="masked")
        painter = gr.ImageMask(label="Paint here", type="pil", elem_id="painter", interactive=True, layers=False)
        with gr.Row():
            keep = gr.Button("Keep the mask", elem_id="keep-mask")
            uploaded = gr.UploadButton("Upload a mask", file_types=["image"], elem_id="upload-mask")
            drop_mask = gr.Button("Remove the mask", elem_id="remove-mask")
            remove = gr.Button("Remove the picture", variant="stop", elem_id="remove-picture")

    gr.Markdown("### Word and model")
    with gr.Row():
        token = gr.Textbox(label="New word", placeholder="<my-cat>", elem_id="token")
        model = gr.Dropdown(
            choices=[TINY_SD],
            value=TINY_SD,
            allow_custom_value=True,
            label="Model: of this machine, a folder, or a hub id",
            elem_id="model",
        )
    with gr.Row():
        init = gr.Textbox(label="Starts from (auto finds words in the pictures)", value="auto", elem_id="init")
        vectors = gr.Textbox(label="Vectors (empty: as many as the words have)", elem_id="num-vectors")
        templates = gr.Dropdown(sorted(TEMPLATE_NAMES), value="object", label="It is a", elem_id="templates")
    with gr.Accordion("Which words would it start from?", open=False):
        seek = gr.Button("Look for words", elem_id="suggest")
        words = gr.Dataframe(headers=["words", "loss", "falls by"], interactive=False, elem_id="words")
    quality = gr.Radio(list(QUALITIES), value="good", label="How well", elem_id="quality")
    with gr.Accordion("More: every setting", open=False):
        fields = setting_fields()
    train = gr.Button("Train", variant="primary", elem_id="train")
    answer = gr.Markdown(elem_id="answer")

    names = list(fields)
    asked = [token, model, init, vectors, templates]
    shown = [said, sheet, captions, chosen, files]

    def settings(*values: Any) -> dict[str, Any]:
        of_asked, of_fields = values[: len(asked)], values[len(asked) :]
        keys = ("token", "model", "init", "num_vectors", "templates")
        chosen = {key: value for key, value in zip(keys, of_asked, strict=True) if value not in (None, "")}
        if str(chosen.get("num_vectors", "")).isdigit():
            chosen["num_vectors"] = int(chosen["num_vectors"])
        return {**chosen, **values_of(names, of_fields)}

    def show(*values: Any, more: Sequence[str] = ()) -> list[Any]:
        look = studio.look(settings(*values))
        called = studio.draft.names()
        rows = [[file, called.get(file, file), caption] for file, caption in studio.draft.captions()]
        choices = [(f"{name} ({file})", file) for file, name, _ in rows]
        picture = gr.Image(value=look.sheet, visible=look.sheet is not None)
        return [describe(len(rows), look, more), picture, rows, gr.Dropdown(choices=choices), None]

    @answering
    def add(given: list[str] | None, *values: Any) -> list[Any]:
        return show(*values, more=studio.draft.add(given or []))

    @answering
    def add_folder(path: str, *values: Any) -> list[Any]:
        return show(*values, more=studio.draft.add_folder(path, studio.reach))

    def clear_all(*values: Any) -> list[Any]:
        studio.draft.clear()
        return show(*values)

    @answering
    def write_captions(rows: list[list[str]], *values: Any) -> list[Any]:
        for file, _, caption in rows:
            studio.draft.caption(file, caption or "")
        return show(*values)[:2]

    def to_paint(file: str | None) -> Any:
        return studio.draft.image(file) if file else None

    @answering
    def keep_mask(file: str, painted: dict[str, Any] | None, *values: Any) -> list[Any]:
        studio.draft.mask(file, mask_of(painted))
        return show(*values)[:2]

    @answering
    def upload_mask(given: str, file: str, *values: Any) -> list[Any]:
        studio.draft.upload_mask(file, given)
        return show(*values)[:2]

    @answering
    def remove_mask(file: str, *values: Any) -> list[Any]:
        studio.draft.mask(file, None)
        return show(*values)[:2]

    @answering
    def remove_picture(file: str, *values: Any) -> list[Any]:
        studio.draft.remove(file)
        return show(*values)

    @answering
    def suggest(*values: Any) -> list[list[Any]]:
        return [[text, f"{loss:.5f}", f"{fall:+.5f}"] for text, loss, fall in studio.suggest(settings(*values))]

    @answering
    def begin(quality: str, *values: Any) -> str:
        job = studio.train(settings(*values), quality)
        return f"**{job.name}** is in the queue: the tab *Runs* shows how far it is."

    inputs: list[Any] = [*asked, *fields.values()]
    files.upload(add, [files, *inputs], shown)
    take_folder.click(add_folder, [folder, *inputs], shown)
    clear.click(clear_all, inputs, shown)
    captions.input(write_captions, [captions, *inputs], shown[:2])
    chosen.change(to_paint, chosen, painter)
    keep.click(keep_mask, [chosen, painter, *inputs], shown[:2])
    uploaded.upload(upload_mask, [uploaded, chosen, *inputs], shown[:2])
    drop_mask.click(remove_mask, [chosen, *inputs], shown[:2])
    remove.click(remove_picture, [chosen, *inputs], shown)
    of_dataset: list[Any] = [token, model, fields["resolution"], fields["crop"], fields["buckets"]]
    for field in of_dataset:
        field.change(lambda *values: show(*values)[:2], inputs, shown[:2], show_progress="hidden")
    seek.click(suggest, inputs, words)
    train.click(begin, [quality, *inputs], answer)

    def refresh() -> list[Any]:
        found = show(*(None,) * len(inputs))
        return [*found, gr.Dropdown(choices=studio.models())]

    return refresh, [*shown, model]


def describe(count: int, look: Look, more: Sequence[str]) -> str:
    """What is said of the draft; more: lines about what was not taken."""
    if not count and not more:
        return "Some 5 to 20 pictures of one thing, in different places, are enough."
    titled = {"Not taken": more, "To be mended": look.problems, "Notes": look.notes}
    parts = [f"{count} picture{'s' * (count != 1)}", *(as_markdown(lines, title) for title, lines in titled.items())]
    return "\n\n".join(filter(None, parts))


def mask_of(painted: dict[str, Any] | None) -> Image.Image | None:
    """White where somebody has painted; None where nobody has."""
    layers = (painted or {}).get("layers") or []
    if not layers:
        return None
    strokes = np.asarray(layers[0].convert("RGBA"))[..., 3] > 0
    return Image.fromarray((strokes * 255).astype(np.uint8)) if strokes.any() else None
