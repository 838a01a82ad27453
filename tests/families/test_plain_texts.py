"""Encoders that get no rows: against the real pipeline, whose encoders are given different prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.running import MakeConfig
from ti_trainer import BadInput, ModelConfig, load_into_pipeline, train
from ti_trainer.embedding_files import Embedding, read_embedding, write_embedding
from ti_trainer.families import load_family, load_with_embeddings
from ti_trainer.families.plain_texts import MOST, PlainTexts

CPU = torch.device("cpu")
TOKEN = "<my-cat>"
CAPTIONS = [f"a photo of {TOKEN} in the snow", "the red dog"]


def load(model: Path, *slots: str) -> Any:
    return load_family(ModelConfig(model=str(model), train_slots=slots), CPU, torch.float32)


def random_rows(family: Any) -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    return {slot.name: torch.randn(2, slot.width, generator=draws) * slot.table.std() for slot in family.slots}


def test_others_read_captions_without_the_token(
    tiny_models: dict[str, Path], reference_pipeline: Callable[[Path], Any], tmp_path: Path
) -> None:
    """The pipeline, with a file for two of SD 3's encoders, and prompts of its own for the third."""
    family = load(tiny_models["sd3"], "clip_l,clip_g")
    rows = random_rows(family)
    assert list(rows) == ["clip_l", "clip_g"]
    family.placeholders.add(TOKEN, rows)
    metadata = {"modelspec.architecture": "stable-diffusion-3/textual-inversion"}
    (file,) = write_embedding(Embedding(TOKEN, rows, metadata), tmp_path / "my-cat.safetensors", "webui")
    pipeline = reference_pipeline(tiny_models["sd3"])
    written = load_into_pipeline(pipeline, file)
    found = family.encode_text(CAPTIONS)
    for number, caption in enumerate(CAPTIONS):
        named, plain = caption.replace(TOKEN, written), caption.replace(TOKEN, "")
        context, _, pooled, _ = pipeline.encode_prompt(named, named, plain, do_classifier_free_guidance=False)
        torch.testing.assert_close(found.context[number], context[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.pooled[number], pooled[0], rtol=1e-5, atol=1e-5)


def test_a_text_is_read_once(tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    family = load(tiny_models["flux1"], "clip_l")
    family.placeholders.add(TOKEN, random_rows(family))
    t5 = family.readers[1]
    calls: list[int] = []
    t5.encoder.register_forward_pre_hook(lambda module, given: calls.append(1))
    first = family.encode_text(CAPTIONS)
    assert torch.equal(family.encode_text(CAPTIONS[::-1]).context[[1, 0]], first.context)
    assert len(calls) == 2
    assert not first.context.requires_grad
    plain = PlainTexts()
    for number in range(MOST + 1):
        plain.read_one(t5, f"a {number}")
    assert len(plain._known) == MOST
    assert ("t5xxl", "a 0") not in plain._known


def test_a_run_writes_the_rows_that_were_trained(
    tiny_models: dict[str, Path], make_config: MakeConfig, reference_pipeline: Callable[[Path], Any]
) -> None:
    run = train(make_config(model=str(tiny_models["sd3"]), train_slots=["clip_l,clip_g"], steps=2))
    embedding = read_embedding(run.embedding)
    assert list(embedding.vectors) == ["clip_l", "clip_g"]
    assert embedding.left_out == {"t5xxl"}
    family = load_with_embeddings(ModelConfig(model=str(tiny_models["sd3"])), [embedding])
    assert [slot.name for slot in family.slots] == ["clip_l", "clip_g"]
    assert load_into_pipeline(reference_pipeline(tiny_models["sd3"]), run.embedding).startswith(TOKEN)


def test_names_that_no_encoder_has(tiny_models: dict[str, Path]) -> None:
    with pytest.raises(BadInput, match=r"train_slots has 't5', and .* has clip_l, clip_g, t5xxl"):
        load(tiny_models["sd3"], "clip_l", "t5")


@pytest.mark.parametrize("kind", ["sdxl-eps", "sd3"])
def test_encoders_that_every_file_has_rows_for(tiny_models: dict[str, Path], kind: str) -> None:
    with pytest.raises(BadInput, match=r"train_slots leaves out clip_g, for which every file of .* has rows"):
        load(tiny_models[kind], "clip_l")
