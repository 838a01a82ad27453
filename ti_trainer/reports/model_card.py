"""README.md of a run: a model card as the hub reads it. It names no path of the machine on which the run was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..config.config import TrainConfig
from ..embedding_files.metadata import prompt_for

# how the names of ModelSpec's architectures begin -> the hub's name of their pipelines, the longest first
HUB_TAGS = {"stable-diffusion-xl": "stable-diffusion-xl", "stable-diffusion": "stable-diffusion"}
LEARNED_WITH = ("init", "steps", "batch_size", "lr", "lr_schedule", "optimizer", "resolution", "seed")


def model_card(
    config: TrainConfig, architecture: str, rows: int, best_step: int, prompts: Mapping[str, str], files: Sequence[str]
) -> str:
    """The card of a finished run.

    architecture: ModelSpec's name of the model's; prompts: some, and the files of the pictures that show them; files:
    for diffusers, one for each text encoder; all relative to the run's folder.
    """
    concept = config.concept
    where = prompt_for(concept.negative)
    lines = [
        f"# {concept.stem}",
        f"{config.description or 'A word for Stable Diffusion, learned by Textual Inversion.'}",
        " ".join(f"![{prompt}]({file})" for prompt, file in prompts.items()),
        "## How to use it",
        f"- WebUIs: copy `{concept.stem}.safetensors` into `embeddings` (ComfyUI, SD.Next: `models/embeddings`) and "
        f"write `{concept.stem}` in the {where} (ComfyUI: `embedding:{concept.stem}`, InvokeAI: `<{concept.stem}>`).",
        f"- diffusers: write `{concept.trigger}` in the {where}, after",
        "\n".join(["```python", *calls(concept.trigger, files), "```"]),
        "## How it was learned",
        table({"model": model_name(config.model), "rows": rows, "step that was saved": best_step, **settings(config)}),
        "Made with ti_trainer.",
    ]
    return f"---\n{front_matter(config, architecture, prompts)}---\n\n" + "\n\n".join(lines) + "\n"


def front_matter(config: TrainConfig, architecture: str, prompts: Mapping[str, str]) -> str:
    """What the hub reads of a card, as YAML."""
    pipeline = next((tag for start, tag in HUB_TAGS.items() if architecture.startswith(start)), None)
    tags = [pipeline, f"{pipeline}-diffusers"] if pipeline else []
    facts: dict[str, Any] = {
        "base_model": config.model if is_on_hub(config.model) else None,
        "library_name": "diffusers",
        "license": config.license and config.license.lower(),
        "instance_prompt": config.concept.trigger,
        "tags": list(dict.fromkeys(["text-to-image", "diffusers", "textual_inversion", *tags, *config.tags])),
        "widget": [{"text": prompt, "output": {"url": file}} for prompt, file in prompts.items()],
    }
    known = {name: value for name, value in facts.items() if value}
    return yaml.safe_dump(known, sort_keys=False, allow_unicode=True, width=1000)


def calls(token: str, files: Sequence[str]) -> list[str]:
    """The lines that load the files into a diffusers pipeline."""
    suffixes = ["", *(f"_{number}" for number in range(2, len(files) + 1))]
    if len(files) == 1:
        return [f'pipeline.load_textual_inversion("{files[0]}", token="{token}")']
    return [
        f'pipeline.load_textual_inversion("{file}", token="{token}", text_encoder=pipeline.text_encoder{suffix}, '
        f"tokenizer=pipeline.tokenizer{suffix})"
        for file, suffix in zip(files, suffixes, strict=True)
    ]


def settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that decided most, without a path among them."""
    values = {**vars(config.concept), **vars(config)}
    found = {name: values[name] for name in LEARNED_WITH if values[name] is not None}
    return {**found, "init": "file"} if config.concept.init.startswith("file:") else found


def table(values: Mapping[str, Any]) -> str:
    """Names and values as a table; text is shown as it is, whatever Markdown would make of it."""
    cells = {name: " ".join(str(value).replace("`", "'").replace("|", "\\|").split()) for name, value in values.items()}
    rows = [f"| {name} | `{value}` |" for name, value in cells.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def is_on_hub(model: str) -> bool:
    """Whether a model is named by its id, OWNER/NAME, and is no folder of this machine."""
    return model.count("/") == 1 and not model.startswith(("/", ".", "~")) and not Path(model).exists()


def model_name(model: str) -> str:
    return model if is_on_hub(model) else Path(model).name
