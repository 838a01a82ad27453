"""What the page answers."""

from __future__ import annotations

import gradio as gr
import pytest

from ti_trainer import BadInput
from ti_trainer.app.answers import answering


def test_a_problem_is_a_sentence_and_no_html() -> None:
    @answering
    def fail(problem: Exception) -> int:
        raise problem

    for problem in (BadInput("give <x>, not <b>y</b>"), OSError("give <x>, not <b>y</b>")):
        with pytest.raises(gr.Error) as answer:
            fail(problem)
        assert answer.value.message == "give &lt;x&gt;, not &lt;b&gt;y&lt;/b&gt;"
    with pytest.raises(KeyError):
        fail(KeyError("a mistake of ours"))


def test_an_answer() -> None:
    assert answering(lambda a, b: a + b)(1, 2) == 3
