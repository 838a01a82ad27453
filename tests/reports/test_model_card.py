"""The card of a run: what the hub reads of it, and that it tells nothing of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ti_trainer import Concept, Run, TrainConfig
from ti_trainer.reports.model_card import is_on_hub, model_card

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def card_of(
    architecture: str = "stable-diffusion-v1", files: tuple[str, ...] = ("a",), **changes: Any
) -> tuple[dict[str, Any], str]:
    """Front matter and text."""
    config = TrainConfig(**{"concept": Concept("<my-cat>", init="striped cat"), "model": SD15, **changes})
    widths = {"stable-diffusion-v1": {"clip_l": 768}, "anima": {"qwen3_06b": 1024}}
    own = widths.get(architecture, {"clip_l": 768, "clip_g": 1280})
    text = model_card(config, architecture, own, 4, 90, {"a <my-cat>": "previews/step-000090-1.png"}, files)
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_what_the_hub_reads() -> None:
    head, body = card_of(license="CC0-1.0", tags=("cat", "diffusers"), description="My cat: orange.")
    assert head == {
        "base_model": SD15,
        "library_name": "diffusers",
        "license": "cc0-1.0",
        "instance_prompt": "<my-cat>",
        "tags": [
            "text-to-image",
            "diffusers",
            "textual_inversion",
            "stable-diffusion",
            "stable-diffusion-diffusers",
            "cat",
        ],
        "widget": [{"text": "a <my-cat>", "output": {"url": "previews/step-000090-1.png"}}],
    }
    for text in (
        "# my-cat",
        "My cat: orange.",
        "![a <my-cat>](previews/step-000090-1.png)",
        "| init | `striped cat` |",
    ):
        assert text in body
    assert 'pipeline.load_textual_inversion("a", token="<my-cat>")' in body


def test_two_encoders_and_the_negative_prompt() -> None:
    concept = Concept("<bad>", negative=True)
    head, body = card_of("stable-diffusion-xl-v1-base", ("a", "b"), concept=concept)
    assert "stable-diffusion-xl" in head["tags"]
    assert 'load_textual_inversion("b", token="<bad>", text_encoder=pipeline.text_encoder_2, tokenizer=' in body
    assert body.count("in the negative prompt") == 5  # A1111 and Forge, SD.Next, ComfyUI, InvokeAI, diffusers
    assert "license" not in head


def test_a_model_that_one_program_reads_and_whose_licence_says_something() -> None:
    _, body = card_of("anima", ())
    assert "- ComfyUI: copy it into models/embeddings/ and write embedding:my-cat in the prompt" in body
    assert "A1111" not in body
    assert 'word = ti_trainer.load_into_pipeline(pipeline, "my-cat.safetensors")' in body
    assert "The model's licence: CircleStone Non-Commercial License" in body
    assert "licence" not in card_of()[1]


def test_nothing_of_the_machine_is_told(finished_run: Run, model: Path, pictures: Path, tmp_path: Path) -> None:
    card = (Path(finished_run.folder) / "README.md").read_text()
    assert f"| model | `{model.name}` |" in card
    assert str(model.parent) not in card
    assert str(pictures) not in card
    assert str(Path(finished_run.folder).parent) not in card
    head = yaml.safe_load(card.split("---\n")[1])
    assert "base_model" not in head
    for each in head["widget"]:
        assert (Path(finished_run.folder) / each["output"]["url"]).is_file()
    file = tmp_path / "old.safetensors"
    assert str(tmp_path) not in card_of(concept=Concept("<a>", init=f"file:{file}"))[1]


@pytest.mark.parametrize(
    ("model", "is_id"), [(SD15, True), ("/models/sd", False), ("sd", False), ("a/b/c.safetensors", False)]
)
def test_ids_of_the_hub(model: str, is_id: bool) -> None:
    assert is_on_hub(model) == is_id
