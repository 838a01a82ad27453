"""README.md of a run: a model card as the hub reads it. It names no path of the machine on which the run was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..config.concept import Concept
from ..config.config import TrainConfig
from ..embedding_files.embedding import terms_of
from ..embedding_files.metadata import prompt_for
from ..embedding_files.readers import where_it_goes

# how the names of ModelSpec's architectures begin -> the hub's name of their pipelines, the longest first
HUB_TAGS = {"stable-diffusion-xl": "stable-diffusion-xl", "stable-diffusion": "stable-diffusion"}
LEARNED_WITH = ("init", "steps", "batch_size", "lr", "lr_schedule", "optimizer", "resolution", "seed")


def model_card(
    config: TrainConfig,
    architecture: str,
    widths: Mapping[str, int],
    rows: int,
    best_step: int,
    prompts: Mapping[str, str],
    files: Sequence[str],
) -> str:
    """The card of a finished run.

    architecture: ModelSpec's name of the model's; widths: of its words, by slot; prompts: some, and the files of the
    pictures that show them; files: for diffusers, one for each text encoder, or none where diffusers has no loader; all
    relative to the run's folder.
    """
    concept = config.concept
    where = prompt_for(concept.negative)
    lines = [
        f"# {concept.stem}",
        f"{config.description or 'A word for a text-to-image model, learned by Textual Inversion.'}",
        " ".join(f"![{prompt}]({file})" for prompt, file in prompts.items()),
        "## How to use it",
        "\n".join(
            f"- {program}: {advice}"
            for program, advice in where_it_goes(widths, architecture, concept.stem, concept.negative)
        ),
        f"- diffusers: write `{concept.trigger if files else 'word'}` in the {where}, after",
        "\n".join(["```python", *calls(concept, files), "```"]),
        "## How it was learned",
        table({"model": model_name(config.model), "rows": rows, "step that was saved": best_step, **settings(config)}),
        f"The model's licence: {terms_of(architecture)}." if terms_of(architecture) else "",
        "Made with ti_trainer.",
    ]
    lines = [line for line in lines if line]
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


def calls(concept: Concept, files: Sequence[str]) -> list[str]:
    """The lines that load the files into a diffusers pipeline."""
    token = concept.trigger
    if not files:
        return [f'word = ti_trainer.load_into_pipeline(pipeline, "{concept.stem}.safetensors")']
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
