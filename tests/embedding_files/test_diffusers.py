"""The installed diffusers loads every layout that is meant for it, and its pipelines then encode all of the vectors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ti_trainer.embedding_files import Embedding, read_embedding, write_embedding

TOKEN = "<my-cat>"
WIDTHS = {"clip_l": 32, "clip_g": 48}


def vectors_of(count: int, **widths: int) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(count)
    return {slot: torch.randn(count, width, generator=draws) for slot, width in widths.items()}


def known_rows(tokenizer: Any, encoder: Any, token: str, count: int) -> Tensor:
    """The rows that a prompt with the token has in the pipeline's table, (n, d)."""
    names = [token, *(f"{token}_{number}" for number in range(1, count))]
    return encoder.get_input_embeddings().weight.detach()[tokenizer.convert_tokens_to_ids(names)]


def expanded_ids(pipeline: Any, tokenizer: Any, token: str) -> list[int]:
    prompt = pipeline.maybe_convert_prompt(f"a photo of {token}", tokenizer)
    return tokenizer(prompt, add_special_tokens=False).input_ids


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("file_format", "suffix", "token"),
    [("diffusers", ".safetensors", None), ("webui", ".safetensors", TOKEN), ("a1111-pt", ".pt", None)],
)
def test_stable_diffusion(
    model: Path,
    reference_pipeline: Callable[[Path], Any],
    tmp_path: Path,
    file_format: str,
    suffix: str,
    token: str | None,
    count: int,
) -> None:
    pipeline = reference_pipeline(model)
    vectors = vectors_of(count, clip_l=32)
    write_embedding(Embedding(TOKEN, vectors), tmp_path / f"my-cat{suffix}", file_format)
    pipeline.load_textual_inversion(str(tmp_path / f"my-cat{suffix}"), token=token)
    word = TOKEN if file_format != "a1111-pt" else "my-cat"  # A1111 writes no brackets
    assert torch.equal(known_rows(pipeline.tokenizer, pipeline.text_encoder, word, count), vectors["clip_l"])
    ids = expanded_ids(pipeline, pipeline.tokenizer, word)
    last = pipeline.tokenizer.get_vocab()[word]
    assert ids[-count:] == list(range(last, last + count))


def test_folder_of_diffusers(model: Path, reference_pipeline: Callable[[Path], Any], tmp_path: Path) -> None:
    """By the name of the file, as on the hub."""
    pipeline = reference_pipeline(model)
    vectors = vectors_of(2, clip_l=32)
    write_embedding(Embedding(TOKEN, vectors), tmp_path / "learned_embeds.safetensors", "diffusers")
    pipeline.load_textual_inversion(str(tmp_path))
    assert torch.equal(known_rows(pipeline.tokenizer, pipeline.text_encoder, TOKEN, 2), vectors["clip_l"])


@pytest.fixture
def sdxl_pipeline(tokenizer: Any) -> Any:
    """The text side of a tiny random SDXL: loading embeddings and encoding prompts need nothing else."""
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    encoders = []
    for width, kind in zip(WIDTHS.values(), (CLIPTextModel, CLIPTextModelWithProjection), strict=True):
        torch.manual_seed(width)
        config = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=3,
            num_attention_heads=4,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        encoders.append(kind(config).eval())
    first, second = copy.deepcopy(tokenizer), copy.deepcopy(tokenizer)
    return StableDiffusionXLPipeline(None, *encoders, first, second, None, DDIMScheduler(), add_watermarker=False)


@pytest.mark.parametrize("count", [1, 3])
def test_sdxl(sdxl_pipeline: Any, tmp_path: Path, count: int) -> None:
    """A call for each encoder with its own file; the WebUIs' file in one piece for each tensor."""
    pipeline = sdxl_pipeline
    vectors = vectors_of(count, **WIDTHS)
    prompt = f"a photo of {TOKEN} in the snow"
    with torch.no_grad():
        before = pipeline.encode_prompt(prompt, device=torch.device("cpu"), do_classifier_free_guidance=False)
    files = write_embedding(Embedding(TOKEN, vectors), tmp_path / "learned_embeds.safetensors", "diffusers")
    assert [file.name for file in files] == ["learned_embeds.safetensors", "learned_embeds_2.safetensors"]
    sides = [(pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2)]
    for file, (tokenizer, encoder), rows in zip(files, sides, vectors.values(), strict=True):
        pipeline.load_textual_inversion(str(file), tokenizer=tokenizer, text_encoder=encoder)
        assert torch.equal(known_rows(tokenizer, encoder, TOKEN, count), rows)
        ids = expanded_ids(pipeline, tokenizer, TOKEN)
        assert ids[-count:] == list(range(ids[-count], ids[-count] + count))
        assert ids[-count] == tokenizer.get_vocab()[TOKEN]
    with torch.no_grad():
        after = pipeline.encode_prompt(prompt, device=torch.device("cpu"), do_classifier_free_guidance=False)
    for width, here, there in zip((32, 48), after[0].split([32, 48], -1), before[0].split([32, 48], -1), strict=True):
        assert (here - there).abs().max() > 1e-3, width
    found = read_embedding(files[0])
    assert all(torch.equal(found.vectors[slot], rows) for slot, rows in vectors.items())


def test_sdxl_from_the_file_for_webuis(sdxl_pipeline: Any, tmp_path: Path) -> None:
    vectors = vectors_of(2, **WIDTHS)
    (file,) = write_embedding(Embedding(TOKEN, vectors), tmp_path / "my-cat.safetensors", "webui")
    state = load_file(file)
    pipeline = sdxl_pipeline
    sides = [(pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2)]
    for slot, (tokenizer, encoder) in zip(WIDTHS, sides, strict=True):
        pipeline.load_textual_inversion(state[slot], token=TOKEN, tokenizer=tokenizer, text_encoder=encoder)
        assert torch.equal(known_rows(tokenizer, encoder, TOKEN, 2), vectors[slot])
    with pytest.raises(ValueError, match="only has a single key"):  # why there are files for diffusers
        pipeline.load_textual_inversion(str(file), token="<other>")
