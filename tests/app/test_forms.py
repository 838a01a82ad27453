"""Fields from settings."""

from __future__ import annotations

import gradio as gr
import pytest

from ti_trainer.app.forms import ELSEWHERE, as_markdown, further_settings, plain, setting_fields, values_of
from ti_trainer.config.settings import config_from_mapping, settings_of_run


@pytest.mark.usefixtures("blocks")
def test_every_setting_has_a_field_or_a_reason() -> None:
    with gr.Blocks():
        fields = setting_fields()
    assert set(fields) == set(further_settings())
    starts = {name for name, one in settings_of_run().items() if one.about.start}
    assert set(fields) | ELSEWHERE | starts == set(settings_of_run())
    assert not set(fields) & ELSEWHERE
    assert all(field.info for field in fields.values() if hasattr(field, "info"))
    assert isinstance(fields["flip"], gr.Checkbox)
    assert isinstance(fields["crop"], gr.Dropdown)
    assert isinstance(fields["steps"], gr.Textbox)


@pytest.mark.usefixtures("blocks")
def test_what_nobody_changes_is_not_set() -> None:
    with gr.Blocks():
        fields = setting_fields()
    assert values_of(list(fields), [field.value for field in fields.values()]) == {}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("steps", "7", 7),
        ("steps", "six", "six"),
        ("lr", "5e-3", "5e-3"),
        ("flip", True, True),
        ("plots", False, False),
        ("tags", "cat; striped", ("cat", "striped")),
        ("crop", "random", "random"),
        ("early_stop", "0", 0),
        ("gradient_checkpointing", "false", False),
        ("zero_terminal_snr", "true", True),
    ],
)
def test_what_is_changed(name: str, given: object, value: object) -> None:
    assert values_of([name], [given]) == {name: value}
    if value != "six":
        config_from_mapping({"token": "<a>", "model": "tiny-sd", name: value})


def test_text_is_text() -> None:
    assert plain("<b>a*b* [x](y)\nz & `c`") == r"&lt;b&gt;a\*b\* \[x\]\(y\) z &amp; \`c\`"
    assert as_markdown(["<a>"], "Notes") == "**Notes**\n- &lt;a&gt;"
    assert as_markdown([], "Notes") == ""
