"""Text encoders told apart by their configs, read as their kinds say, and given new words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_parts import build_encoder, build_t5, build_t5_tokenizer, build_tokenizer
from ti_trainer import BadInput
from ti_trainer.families.parts import Part
from ti_trainer.families.slots import (
    CLIP_G,
    CLIP_H,
    CLIP_L,
    T5_XXL,
    SlotKind,
    TextSlot,
    add_words,
    set_end_of_text,
    slot_specs,
    text_slots,
)

T5 = replace(T5_XXL, length=256)
KINDS = (CLIP_L, CLIP_H, CLIP_G)
# entries of the published configs
PUBLISHED = {
    "openai/clip-vit-large-patch14": ("CLIPTextModel", "quick_gelu", 768, 12),  # SD 1.x, and SDXL's first
    "SD 2.1": ("CLIPTextModel", "gelu", 1024, 23),  # 23 of ViT-H's 24 layers
    "SDXL 1.0, second": ("CLIPTextModelWithProjection", "gelu", 1280, 32),
    "SD 3, first": ("CLIPTextModelWithProjection", "quick_gelu", 768, 12),
}


def part_of(published: str) -> Part:
    name, activation, width, layers = PUBLISHED[published]
    config = {"hidden_act": activation, "hidden_size": width, "num_hidden_layers": layers, "eos_token_id": 2}
    return Part(name, config)


def make_slot(kind: SlotKind) -> TextSlot:
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    encoder = build_encoder(kind.name, tokenizer, projects=kind is CLIP_G).eval().requires_grad_(False)
    slot = TextSlot(kind, "", tokenizer, encoder)
    set_end_of_text(slot)
    return slot


@pytest.mark.parametrize("published", PUBLISHED)
def test_published_encoders(published: str) -> None:
    (slot,) = slot_specs({"unet": Part("UNet2DConditionModel", {}), "text_encoder": part_of(published)}, KINDS)
    wanted = {"SD 2.1": ("clip_h", 2), "SDXL 1.0, second": ("clip_g", 1)}.get(published, ("clip_l", 1))
    assert (slot.kind.name, slot.encoder_layer) == wanted  # SD 2.x reads the last but one of ViT-H's layers
    assert (slot.width, slot.layers) == PUBLISHED[published][2:]


def test_slots_are_in_the_pipelines_order() -> None:
    parts = {
        "text_encoder_3": Part("T5EncoderModel", {"d_model": 4096, "num_layers": 24}),
        "text_encoder": part_of("SD 3, first"),
        "tokenizer": Part("CLIPTokenizer", {}),
        "text_encoder_2": part_of("SDXL 1.0, second"),
    }
    slots = slot_specs(parts, (*KINDS, T5), clip_skip=2)
    assert [(slot.kind.name, slot.suffix, slot.width, slot.layers) for slot in slots] == [
        ("clip_l", "", 768, 12),
        ("clip_g", "_2", 1280, 32),
        ("t5xxl", "_3", 4096, 24),
    ]
    assert [slot.kind.layer for slot in slots] == [-3, -3, -1]  # T5 has no clip skip
    assert [slot.kind.window for slot in slots] == [75, 75, 255]


def test_encoders_of_other_kinds_are_refused() -> None:
    with pytest.raises(BadInput, match="text_encoder is a BertModel of another kind than clip_l, clip_h"):
        slot_specs({"text_encoder": Part("BertModel", {"hidden_size": 768})}, (CLIP_L, CLIP_H))
    with pytest.raises(BadInput, match="text_encoder is a CLIPTextModel of another kind than clip_g"):
        slot_specs({"text_encoder": part_of("SD 2.1")}, (CLIP_G,))


@pytest.mark.parametrize("clip_skip", [11, 12, 40])
def test_more_layers_skipped_than_there_are(clip_skip: int) -> None:
    with pytest.raises(BadInput, match=f"clip_skip is {clip_skip} and clip_l has 12 layers; choose fewer"):
        slot_specs({"text_encoder": part_of("SD 3, first")}, KINDS, clip_skip)
    slot_specs({"text_encoder": part_of("SD 3, first")}, KINDS, 10)


def test_what_is_read_is_what_the_kind_says() -> None:
    """Against the encoder's own outputs: last and earlier layers, with the last norm and without, what is pooled."""
    slot = make_slot(CLIP_G)
    ids = slot.tokenizer(["a red cat", "the beach"], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        output: Any = slot.encoder(ids, output_hidden_states=True)
        norm = slot.encoder.text_model.final_layer_norm
        cases: list[tuple[dict[str, Any], torch.Tensor, torch.Tensor | None]] = [
            ({}, norm(output.hidden_states[-1]), None),
            ({"layer": -2}, norm(output.hidden_states[-2]), None),
            ({"layer": -2, "normed": False}, output.hidden_states[-2], None),
            ({"layer": -3, "normed": False, "pooled": "text_embeds"}, output.hidden_states[-3], output.text_embeds),
        ]
        for changes, context, pooled in cases:
            found = replace(slot, kind=replace(CLIP_G, **changes)).read(ids)
            torch.testing.assert_close(found.context, context)
            assert (found.pooled is None) == (pooled is None)
            assert pooled is None or (found.pooled is not None and torch.equal(found.pooled, pooled))
        ends = (ids == slot.tokenizer.eos_token_id).int().argmax(1)
        last = norm(output.hidden_states[-1])[torch.arange(2), ends]
        torch.testing.assert_close(output.text_embeds, slot.encoder.text_projection(last))


def test_the_pooled_vector_alone_is_a_kind_too() -> None:
    """As Flux reads clip_l: `pooler_output`."""
    slot = make_slot(replace(CLIP_L, pooled="pooler_output"))
    ids = slot.tokenizer(["a red cat"], padding="max_length", return_tensors="pt").input_ids
    pooled = slot.read(ids).pooled
    assert pooled is not None
    assert torch.equal(pooled, slot.encoder(ids).pooler_output)


def make_t5() -> TextSlot:
    torch.manual_seed(0)
    tokenizer = build_t5_tokenizer()
    return TextSlot(T5, "_3", tokenizer, build_t5(tokenizer).eval())


def test_padding_may_be_left_out() -> None:
    """A masked kind's tokens are read as without their padding, and the mask says where they end."""
    slot = make_t5()
    texts = ["a red cat", "snow"]
    ids = slot.tokenizer(texts, padding="max_length", max_length=16, return_tensors="pt").input_ids
    with torch.no_grad():
        found, plain = (replace(slot, kind=replace(T5, masked=masked)).read(ids) for masked in (True, False))
        assert plain.mask is None
        assert found.mask is not None
        for number, text in enumerate(texts):
            own = slot.tokenizer(text, return_tensors="pt").input_ids
            count = own.shape[1]
            assert found.mask[number].tolist() == [True] * count + [False] * (16 - count)
            torch.testing.assert_close(found.context[number, :count], slot.encoder(own).last_hidden_state[0])
            assert (found.context[number, :count] - plain.context[number, :count]).abs().max() > 1e-2


@pytest.mark.parametrize("make", [lambda: make_slot(CLIP_L), make_t5], ids=["clip", "t5"])
def test_new_words(make: Callable[[], TextSlot]) -> None:
    """New words are read as their rows, between words that are read as before; T5 has entries in stock for some."""
    slot = make()
    words, entries = len(slot.tokenizer), len(slot.table)
    before = slot.table.clone()
    names = ["<my-cat>", *(f"<my-cat>_{number}" for number in range(1, 8))]
    rows = torch.randn(8, slot.width, generator=torch.Generator().manual_seed(0))
    add_words(slot, names, rows)
    ids = slot.tokenizer(f"a {' '.join(names)} cat", add_special_tokens=False).input_ids
    assert ids[-9:-1] == list(range(words, words + 8))
    assert torch.equal(slot.table[ids[-9:-1]], rows)
    assert torch.equal(slot.table[:words], before[:words])
    assert len(slot.table) == max(entries, words + 8) == slot.encoder.config.vocab_size
    embedded = slot.encoder.get_input_embeddings()(torch.tensor(ids[-9:-1]))
    assert torch.equal(embedded, rows)
    with pytest.raises(BadInput, match="'<my-cat>' is already a word of"):
        add_words(slot, names[:1], rows[:1])


def test_slots_of_a_pipeline(tiny_models: dict[str, Path], reference_pipeline: Callable[[Path], Any]) -> None:
    pipeline = reference_pipeline(tiny_models["sdxl-eps"])
    first, second = text_slots(pipeline, KINDS)
    assert (first.name, first.suffix, first.width) == ("clip_l", "", 32)
    assert (second.name, second.suffix, second.width) == ("clip_g", "_2", 40)
    assert first.encoder is pipeline.text_encoder
    assert second.tokenizer is pipeline.tokenizer_2
    pipeline.text_encoder = None  # as in pipelines of the refiner
    (only,) = text_slots(pipeline, KINDS)
    assert (only.name, only.suffix) == ("clip_g", "_2")


def test_end_of_text() -> None:
    slot = make_slot(CLIP_G)
    end = slot.tokenizer.eos_token_id
    assert end == len(slot.tokenizer) - 1 != 2
    assert slot.encoder.config.eos_token_id == slot.encoder.text_model.eos_token_id == end


@pytest.mark.parametrize("make", [make_t5, lambda: make_slot(CLIP_L)], ids=["t5", "clip"])
def test_activations_of_large_encoders_are_computed_twice(make: Callable[[], TextSlot]) -> None:
    """The same gradient to the bit, nothing dropped at random, and fewer bytes kept; CLIP's are kept as ever."""
    slot = make()
    ids = slot.tokenizer(["a red cat in the snow"], return_tensors="pt").input_ids
    rows = slot.table.detach().clone().requires_grad_()
    slot.encoder.set_input_embeddings(torch.nn.Embedding.from_pretrained(rows, freeze=False))
    table = slot.encoder.get_input_embeddings().weight

    def run() -> tuple[torch.Tensor, int]:
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            context = slot.read(ids).context
        (gradient,) = torch.autograd.grad(context.square().sum(), [table])
        return gradient, sum(kept.values())

    plain, much = run()
    slot.checkpoint_activations()
    found, little = run()
    assert torch.equal(found, plain)
    assert (little < much) == slot.kind.checkpoints
    slot.checkpoint_activations(False)
    assert run()[1] == much
