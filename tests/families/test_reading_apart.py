"""Text beside rows, tokenised as ComfyUI does (tests/comfyui.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from tests.comfyui import IDENTIFIER, ids_of
from tests.tiny_parts import build_qwen_tokenizer, build_t5_tokenizer
from ti_trainer.families.reading_apart import read_apart

NAME = "my-cat"
PROMPTS = [
    "{} in the snow",
    "a photo of {} on the beach",
    "a photo of a {}",
    "a {} on the beach beside a red {} , good",
    "{} {}",
    "a photo of {}, on the beach",
    "a photo of {} , on   the\n beach ",
    "the red dog on the beach",
    "",
    "a photo\nof {}\nin the snow",
    "a photo of  {}",
]


def ours(tokenizer: Any, prompt: str, count: int) -> list[int]:
    """The ids of a prompt that names each row."""
    words = [f"<{NAME}>", *(f"<{NAME}>_{number}" for number in range(1, count))]
    tokenizer.add_tokens(words)
    return list(tokenizer(prompt.format(*[" ".join(words)] * prompt.count("{}")), add_special_tokens=False).input_ids)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_ids_are_comfyuis(prompt: str, count: int) -> None:
    """With the rows first, in the middle, last, twice and beside punctuation; those of the template behind them too."""
    for template in ("{}", "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"):
        tokenizer, other = build_qwen_tokenizer(), read_apart(build_qwen_tokenizer())
        rows = list(range(len(tokenizer), len(tokenizer) + count))
        whole = template.replace("{}", prompt)
        named = whole.format(*[IDENTIFIER + NAME] * whole.count("{}"))
        assert ours(other, whole, count) == ids_of(tokenizer, named, NAME, rows)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_padding_stands_for_rows_in_the_t5s_ids(prompt: str, count: int) -> None:
    """As Anima's tokenizer has it in ComfyUI: ids of 0, which are attended to."""
    tokenizer, other = build_t5_tokenizer(), read_apart(build_t5_tokenizer(), 0)
    named = prompt.format(*[IDENTIFIER + NAME] * prompt.count("{}"))
    assert ours(other, prompt, count) == ids_of(tokenizer, named, NAME, [0] * count)
    found = other(["a <my-cat> cat", "a"], padding="longest", return_tensors="pt")
    assert found.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert found.input_ids[:, -1].tolist() == [1, 0]


def test_a_space_is_lost_behind_and_kept_before() -> None:
    tokenizer = read_apart(build_qwen_tokenizer())
    tokenizer.add_tokens(["<a>"])
    words = tokenizer.convert_ids_to_tokens(tokenizer("photo of <a> on the beach").input_ids)
    assert words == ["photo", "\u0120of", "\u0120", "<a>", "on", "\u0120the", "\u0120beach"]


@pytest.mark.parametrize("how", [{}, {"padding": "max_length", "max_length": 9}, {"truncation": True, "max_length": 2}])
def test_without_rows_it_is_what_it_was(how: dict[str, Any]) -> None:
    for build in (build_qwen_tokenizer, build_t5_tokenizer):
        tokenizer, other = build(), read_apart(build())
        other.add_tokens(["<a>"])
        for text in ("a photo of the dog", ["the dog", "a photo of the dog"][:1], ""):
            assert dict(other(text, **how)) == {
                name: value for name, value in tokenizer(text, **how).items() if name in ("input_ids", "attention_mask")
            }
        found = other(["a dog", "the dog"], padding=True, return_tensors="pt")
        assert torch.equal(
            found.input_ids, tokenizer(["a dog", "the dog"], padding=True, return_tensors="pt").input_ids
        )


def test_it_is_saved_as_what_it_was(tmp_path: Path) -> None:
    """And reads so only once, however often it is asked."""
    tokenizer = read_apart(read_apart(build_qwen_tokenizer()))
    assert type(tokenizer).__name__ == "Qwen2Tokenizer"
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded("a photo of the dog").input_ids == tokenizer("a photo of the dog").input_ids
