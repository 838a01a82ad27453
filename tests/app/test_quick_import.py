"""Gradio without its stubs."""

from __future__ import annotations

import inspect

import pytest

from ti_trainer.app.quick_import import without_stubs


def test_only_inside_the_block() -> None:
    with without_stubs(), pytest.raises(OSError, match=r"^$"):
        inspect.getfile(pytest)
    assert inspect.getfile(pytest).endswith(".py")
