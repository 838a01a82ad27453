"""Of every family: the file that is written, and what ComfyUI makes of it and of a prompt, are what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from tests.comfyui import IDENTIFIER, ids_of, rows_for
from ti_trainer import ModelConfig
from ti_trainer.embedding_files import Embedding, write_embedding
from ti_trainer.families import load_family

NAME, TOKEN = "my-cat", "<my-cat>"
PROMPTS = [
    "{} in the snow",
    "a photo of {} on the beach",
    "a photo of a {} ",
    "a {} on the beach beside a red {} , good",
    "a photo of {}, on the beach",
    "the red dog",
]
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"  # flux.py, KleinTokenizer


@pytest.fixture
def trained(any_model: Path, tmp_path: Path) -> tuple[Any, Path]:
    """A family with three rows for each encoder, and their file."""
    family: Any = load_family(ModelConfig(model=str(any_model)), torch.device("cpu"), torch.float32)
    draws = torch.Generator().manual_seed(0)
    rows = {slot.name: torch.randn(3, slot.width, generator=draws) for slot in family.slots}
    metadata = {"modelspec.architecture": f"{family.spec.architecture}/textual-inversion"}
    (file,) = write_embedding(Embedding(TOKEN, rows, metadata), tmp_path / f"{NAME}.safetensors", "webui")
    family.placeholders.add(TOKEN, rows)
    return family, file


def test_each_encoder_takes_its_own_rows(trained: tuple[Any, Path]) -> None:
    family, file = trained
    ((_, table),) = family.placeholders.present.values()
    for slot in family.slots:
        taken = rows_for(file, slot.name, slot.width)
        assert taken is not None
        assert torch.equal(taken, table[slot.name])


@pytest.mark.parametrize("prompt", PROMPTS)
def test_rows_stand_where_they_were_trained(trained: tuple[Any, Path], any_model: Path, prompt: str) -> None:
    """Ids and positions up to the padding, of which ComfyUI has more or less."""
    family, _ = trained
    for slot in family.slots:
        plain = AutoTokenizer.from_pretrained(any_model / f"tokenizer{slot.suffix}")
        first = slot.encoder.get_input_embeddings().first
        (found,) = family.windows(slot, [family.placeholders.expand(prompt.replace("{}", TOKEN))])
        asked = prompt.replace("{}", IDENTIFIER + NAME)
        asked = CHAT.replace("{}", asked) if slot.kind.chats else asked
        wanted = ids_of(plain, asked, NAME, [first, first + 1, first + 2])
        start = [plain.bos_token_id] * slot.kind.starts
        end = [plain.eos_token_id] * slot.kind.ends
        wanted = [*start, *wanted, *end]
        ids = found[0].tolist()
        assert ids[: len(wanted)] == wanted
        assert set(ids[len(wanted) :]) <= {slot.tokenizer.pad_token_id}
        for name, follower in zip(slot.kind.followers, slot.followers, strict=True):
            plain = AutoTokenizer.from_pretrained(any_model / name)
            text, _ = family.placeholders.expand(prompt.replace("{}", TOKEN))
            assert follower(text).input_ids == [*ids_of(plain, asked, NAME, [0, 0, 0]), plain.eos_token_id]
