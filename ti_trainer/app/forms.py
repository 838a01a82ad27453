"""Fields of the page from settings: their type says what they look like, their documentation what they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from typing import Any

import gradio as gr
from gradio.components import Component

from ..config.concept import Concept
from ..config.config import TrainConfig
from ..config.fields import Setting
from ..config.settings import field_documentation, settings_of_run

# settings that the page asks for elsewhere, or that are the server's to say; `prompts` may name any file of text
ELSEWHERE = frozenset(
    {
        *("token", "init", "model", "num_vectors", "images", "output", "name", "templates"),
        *("cache_dir", "models_dir", "latent_cache", "allow_pickle", "model_config", "offline", "report_to"),
        *("image_column", "caption_column", "masks", "class_images", "log_every", "prompts"),
    }
)

# what people choose in place of numbers; every other setting has its default
QUALITIES: dict[str, Mapping[str, Any]] = {
    "quick": {"steps": 40},
    "good": {},
    "thorough": {"steps": 300, "early_stop": 4, "validation_samples": 64},
}

YES_OR_NO = {"true": True, "false": False}


def further_settings() -> dict[str, Setting]:
    """The settings behind "more", by name."""
    return {name: one for name, one in settings_of_run().items() if name not in ELSEWHERE and not one.about.start}


def setting_fields() -> dict[str, Component]:
    """A field for each of `further_settings`, drawn where this is called, with a title for each group."""
    documentation = {**field_documentation(Concept), **field_documentation(TrainConfig)}
    fields: dict[str, Component] = {}
    groups: dict[str, list[tuple[str, Setting]]] = {}
    for name, one in further_settings().items():
        groups.setdefault(one.group, []).append((name, one))
    for title, members in groups.items():
        with gr.Accordion(title, open=False):
            for name, one in members:
                fields[name] = setting_field(one, documentation[name])
    return fields


def setting_field(one: Setting, text: str) -> Component:
    """The field of one setting; empty is its default."""
    how: dict[str, Any] = {"label": one.name, "info": text, "elem_id": f"setting-{one.name}"}
    default = None if one.default is MISSING else one.default
    if one.type is bool and one.optional:
        return gr.Dropdown(["", *YES_OR_NO], value="", **how)
    if one.type is bool:
        return gr.Checkbox(value=bool(default), **how)
    if one.about.choices and not one.about.check and not one.several:
        return gr.Dropdown(sorted(one.about.choices), value=default, **how)
    shown = "" if default in (None, (), "") else f"{default}"
    return gr.Textbox(value="", placeholder=shown, **how)


def values_of(names: Sequence[str], given: Sequence[Any]) -> dict[str, Any]:
    """The settings that were changed, by name; texts become what their settings are. given: of the fields."""
    known = further_settings()
    changed: dict[str, Any] = {}
    for name, value in zip(names, given, strict=True):
        one = known[name]
        value = YES_OR_NO.get(str(value), value) if one.type is bool else value
        if value in (None, "") or value == one.default:
            continue
        if one.several:
            changed[name] = tuple(part.strip() for part in str(value).split(";") if part.strip())
        else:
            changed[name] = as_number(str(value)) if one.type is int else value
    return changed


def as_number(text: str) -> int | str:
    """A whole number where the text is one; else the text, of which the setting says what is wrong."""
    try:
        return int(text)
    except ValueError:
        return text


def as_markdown(lines: Sequence[str], title: str) -> str:
    """A list with a title; what stands in the lines is text."""
    return f"**{title}**\n" + "\n".join(f"- {plain(line)}" for line in lines) if lines else ""


def plain(text: str) -> str:
    """A text in which Markdown and HTML see nothing of theirs."""
    marks: Mapping[int, str] = {ord(mark): f"\\{mark}" for mark in r"\`*_{}[]()#+-.!|~$"}
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").translate(marks).replace("\n", " ")
