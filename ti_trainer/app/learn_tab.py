"""The tab on which pictures are chosen and a run is asked for."""

from __future__ import annotations

from collections.abc import Sequence
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

COLUMNS = ["file", "called", "caption"]
ASKED = ("token", "model", "init", "num_vectors", "templates")  # settings that have fields of their own


class LearnTab:
    """The tab: `refresh` shows the draft as it is in the components of `shown`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.draw_pictures()
        self.draw_captions()
        self.draw_masks()
        self.draw_word()
        self.inputs: list[Any] = [*self.asked, *self.fields.values()]
        self.of_draft: list[Any] = [self.said, self.sheet]
        self.of_pictures: list[Any] = [*self.of_draft, self.captions, self.masked, self.files]
        self.shown: list[Any] = [*self.of_pictures, self.model]
        self.connect_pictures()
        self.connect_masks()
        self.connect_word()

    # --- what is drawn ---

    def draw_pictures(self) -> None:
        gr.Markdown("### Pictures")
        with gr.Row():
            self.files = gr.File(
                label="Drop pictures here (captions as cat.txt and masks as cat.mask.png beside cat.png)",
                file_count="multiple",
                elem_id="pictures",
            )
            with gr.Column():
                self.folder = gr.Textbox(label="or the path of a folder on this machine", elem_id="folder")
                with gr.Row():
                    self.take_folder = gr.Button("Take the folder", elem_id="take-folder")
                    self.clear = gr.Button("Take all out", elem_id="clear", variant="stop")
        self.said = gr.Markdown(elem_id="dataset")
        seen = "What training sees: frame, mask, caption"
        self.sheet = gr.Image(label=seen, show_label=False, interactive=False, elem_id="sheet", visible=False)

    def draw_captions(self) -> None:
        with gr.Accordion("Captions", open=False):
            gr.Markdown(
                "A caption says what else is in a picture: `{token} in a garden`. Without one, templates are used."
            )
            self.captions = gr.Dataframe(
                headers=COLUMNS,
                datatype=["str", "str", "str"],
                static_columns=[0, 1],
                type="array",
                interactive=True,
                elem_id="captions",
                label="Captions, edited in place",
            )

    def draw_masks(self) -> None:
        with gr.Accordion("Masks", open=False):
            gr.Markdown(
                "Paint over the thing itself, or upload a mask (white is the thing). The rest is hardly learned."
            )
            self.masked = gr.Dropdown(label="Picture", choices=[], elem_id="masked")
            self.painter = gr.ImageMask(
                label="Paint here", type="pil", elem_id="painter", interactive=True, layers=False
            )
            with gr.Row():
                self.keep_mask = gr.Button("Keep the mask", elem_id="keep-mask")
                self.uploaded = gr.UploadButton("Upload a mask", file_types=["image"], elem_id="upload-mask")
                self.drop_mask = gr.Button("Remove the mask", elem_id="remove-mask")
                self.remove = gr.Button("Remove the picture", variant="stop", elem_id="remove-picture")

    def draw_word(self) -> None:
        gr.Markdown("### Word and model")
        with gr.Row():
            self.token = gr.Textbox(label="New word", placeholder="<my-cat>", elem_id="token")
            self.model = gr.Dropdown(
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
            self.seek = gr.Button("Look for words", elem_id="suggest")
            self.words = gr.Dataframe(headers=["words", "loss", "falls by"], interactive=False, elem_id="words")
        self.quality = gr.Radio(list(QUALITIES), value="good", label="How well", elem_id="quality")
        with gr.Accordion("More: every setting", open=False):
            self.fields = setting_fields()
        self.train = gr.Button("Train", variant="primary", elem_id="train")
        self.answer = gr.Markdown(elem_id="answer")
        self.asked = [self.token, self.model, init, vectors, templates]  # in the order of ASKED

    # --- what it does ---

    def settings(self, values: Sequence[Any]) -> dict[str, Any]:
        """What the fields say; values: of `inputs`."""
        own = zip(ASKED, values[: len(ASKED)], strict=True)
        chosen = {name: value for name, value in own if value not in (None, "")}
        if str(chosen.get("num_vectors", "")).isdigit():
            chosen["num_vectors"] = int(chosen["num_vectors"])
        return {**chosen, **values_of(list(self.fields), values[len(ASKED) :])}

    def show(self, values: Sequence[Any], more: Sequence[str] = ()) -> list[Any]:
        """What `of_pictures` hold; more: lines about what was not taken."""
        look = self.studio.look(self.settings(values))
        called = self.studio.draft.names()
        rows = [[file, called.get(file, file), caption] for file, caption in self.studio.draft.captions()]
        choices = [(f"{name} ({file})", file) for file, name, _ in rows]
        picture = gr.Image(value=look.sheet, visible=look.sheet is not None)
        return [describe(len(rows), look, more), picture, rows, gr.Dropdown(choices=choices), None]

    def refresh(self) -> list[Any]:
        found = self.show([None] * len(self.inputs))
        return [*found, gr.Dropdown(choices=self.studio.models())]

    def connect_pictures(self) -> None:
        @answering
        def add(given: list[str] | None, *values: Any) -> list[Any]:
            return self.show(values, self.studio.draft.add(given or []))

        @answering
        def add_folder(path: str, *values: Any) -> list[Any]:
            return self.show(values, self.studio.draft.add_folder(path, self.studio.reach))

        def clear_all(*values: Any) -> list[Any]:
            self.studio.draft.clear()
            return self.show(values)

        @answering
        def write_captions(rows: list[list[str]], *values: Any) -> list[Any]:
            for file, _, caption in rows:
                self.studio.draft.caption(file, caption or "")
            return self.show(values)[:2]

        self.files.upload(add, [self.files, *self.inputs], self.of_pictures)
        self.take_folder.click(add_folder, [self.folder, *self.inputs], self.of_pictures)
        self.clear.click(clear_all, self.inputs, self.of_pictures)
        self.captions.input(write_captions, [self.captions, *self.inputs], self.of_draft)

    def connect_masks(self) -> None:
        @answering
        def keep(file: str, painted: dict[str, Any] | None, *values: Any) -> list[Any]:
            self.studio.draft.mask(file, mask_of(painted))
            return self.show(values)[:2]

        @answering
        def upload(given: str, file: str, *values: Any) -> list[Any]:
            self.studio.draft.upload_mask(file, given)
            return self.show(values)[:2]

        @answering
        def drop(file: str, *values: Any) -> list[Any]:
            self.studio.draft.mask(file, None)
            return self.show(values)[:2]

        @answering
        def remove(file: str, *values: Any) -> list[Any]:
            self.studio.draft.remove(file)
            return self.show(values)

        def paint(file: str | None) -> Image.Image | None:
            return self.studio.draft.image(file) if file else None

        self.masked.change(paint, self.masked, self.painter)
        self.keep_mask.click(keep, [self.masked, self.painter, *self.inputs], self.of_draft)
        self.uploaded.upload(upload, [self.uploaded, self.masked, *self.inputs], self.of_draft)
        self.drop_mask.click(drop, [self.masked, *self.inputs], self.of_draft)
        self.remove.click(remove, [self.masked, *self.inputs], self.of_pictures)

    def connect_word(self) -> None:
        @answering
        def suggest(*values: Any) -> list[list[Any]]:
            found = self.studio.suggest(self.settings(values))
            return [[text, f"{loss:.5f}", f"{fall:+.5f}"] for text, loss, fall in found]

        @answering
        def begin(quality: str, *values: Any) -> str:
            job = self.studio.train(self.settings(values), quality)
            return f"**{job.name}** is in the queue: the tab *Runs* shows how far it is."

        fields: list[Any] = [self.token, self.model, *(self.fields[name] for name in ("resolution", "crop", "buckets"))]
        for field in fields:
            field.change(lambda *values: self.show(values)[:2], self.inputs, self.of_draft, show_progress="hidden")
        self.seek.click(suggest, self.inputs, self.words)
        self.train.click(begin, [self.quality, *self.inputs], self.answer)


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
