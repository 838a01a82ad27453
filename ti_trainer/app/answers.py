"""What the page answers to what it is asked for: BadInput is a sentence on it, and never a stack of calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from html import escape
from typing import Any, TypeVar

import gradio as gr

from ..errors import BadInput
from ..files.wording import told

Answer = TypeVar("Answer")


def answering(action: Callable[..., Answer]) -> Callable[..., Answer]:
    """The action, whose BadInput and system errors the page shows."""

    @functools.wraps(action)
    def wrapped(*arguments: Any) -> Answer:
        try:
            return action(*arguments)
        except (BadInput, OSError, RuntimeError) as problem:
            said = escape(told(problem), quote=False)  # the page takes what it shows there for HTML
            raise gr.Error(said, duration=None, print_exception=False) from None

    return wrapped
