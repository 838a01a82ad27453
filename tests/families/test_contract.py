"""What every family promises: users of the real diffusers pipeline get what was trained, and nothing else moves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ti_trainer import Concept, TrainConfig, load_into_pipeline, train
from ti_trainer.data.batches import draw_batch
from ti_trainer.embedding_files import Embedding, read_embedding, write_embedding
from ti_trainer.families import Family, LoadOptions, load_family
from ti_trainer.objective import denoising_losses
from ti_trainer.placeholders import Placeholders
from ti_trainer.prepare import Session, prepare
from ti_trainer.processes import Processes
from ti_trainer.weightings import uniform

TOKEN = "<my-cat>"
PROMPTS = {
    "first": "<my-cat> in the snow",
    "last": "a photo of a <my-cat>",
    "twice": "a <my-cat> on the beach beside a red <my-cat>, good",
    "without": "a photo of a dog",
    "empty": "",
    "long": "the red dog on the beach " * 6 + "<my-cat>" + " and a photo of the red dog in the snow" * 8,
    "cut": "the red dog on the beach " * 20 + "<my-cat>",
}


def load(model: Path, clip_skip: int = 0) -> Family:
    return load_family(str(model), LoadOptions(torch.device("cpu"), torch.float32, clip_skip))


def random_vectors(family: Family, count: int) -> dict[str, Tensor]:
    """Rows as large as words are, {slot: (count, D)}."""
    draws = torch.Generator().manual_seed(count)
    return {
        slot.name: torch.randn(count, slot.table.shape[1], generator=draws) * slot.table.std() for slot in family.slots
    }


def load_with_helper(pipeline: Any, files: dict[str, Path]) -> None:
    assert load_into_pipeline(pipeline, files["webui"]) == TOKEN


def load_plainly(pipeline: Any, files: dict[str, Path]) -> None:
    pipeline.load_textual_inversion(str(files["webui"]), token=TOKEN)


def load_diffusers_file(pipeline: Any, files: dict[str, Path]) -> None:
    pipeline.load_textual_inversion(str(files["diffusers"]))


@pytest.mark.parametrize("load_file", [load_with_helper, load_plainly, load_diffusers_file])
@pytest.mark.parametrize("count", [1, 3])
def test_text_is_what_the_pipeline_encodes(
    any_model: Path,
    reference_pipeline: Callable[[Path], Any],
    tmp_path: Path,
    count: int,
    load_file: Callable[[Any, dict[str, Path]], None],
) -> None:
    """For every prompt and clip skip, context and pooled vector are those of `encode_prompt` with the exported file."""
    vectors = random_vectors(load(any_model), count)
    files = {name: tmp_path / f"{name}.safetensors" for name in ("webui", "diffusers")}
    for name, file in files.items():
        write_embedding(Embedding(TOKEN, vectors, {"ti_trainer.token": TOKEN}), file, name)
    pipeline = reference_pipeline(any_model)
    load_file(pipeline, files)

    for clip_skip in (0, 1):
        family = load(any_model, clip_skip)
        family.install(Placeholders([Concept(TOKEN)], [vectors]))
        together = family.encode_text(list(PROMPTS.values()))
        for number, (name, prompt) in enumerate(PROMPTS.items()):
            with torch.no_grad():
                wanted = pipeline.encode_prompt(prompt, torch.device("cpu"), 1, False, clip_skip=clip_skip or None)
            torch.testing.assert_close(together.context[number, None], wanted[0], atol=2e-6, rtol=2e-6, msg=name)
            if together.pooled is not None:
                torch.testing.assert_close(together.pooled[number, None], wanted[2], atol=2e-6, rtol=2e-6, msg=name)
        # the token changes the text, and clip skip does: the comparison compares something
        replaced = family.encode_text([prompt.replace(TOKEN, "dog") for prompt in PROMPTS.values()]).context
        changed = (replaced - together.context).abs().amax((1, 2)) > 1e-2
        assert changed.tolist() == [TOKEN in prompt and name != "cut" for name, prompt in PROMPTS.items()]
        if clip_skip:
            assert (load(any_model).encode_text([""]).context - together.context[[4]]).abs().max() > 1e-2


def test_repeated_and_separate_captions_give_the_same_text(any_model: Path) -> None:
    family = load(any_model)
    family.install(Placeholders([Concept(TOKEN)], [random_vectors(family, 2)]))
    captions = [PROMPTS["last"], PROMPTS["empty"], PROMPTS["last"], PROMPTS["twice"]]
    together = family.encode_text(captions).context
    alone = torch.cat([family.encode_text([caption]).context for caption in captions])
    torch.testing.assert_close(together, alone, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("count", [1, 3])
def test_text_is_pooled_at_its_end(
    any_model: Path, reference_pipeline: Callable[[Path], Any], tmp_path: Path, count: int
) -> None:
    """Published configs say `eos_token_id: 2`: transformers then pools at the highest id, which is a new token's."""
    family = load(any_model)
    vectors = random_vectors(family, count)
    file = tmp_path / "my-cat.safetensors"
    write_embedding(Embedding(TOKEN, vectors), file, "webui")
    plain, helped = reference_pipeline(any_model), reference_pipeline(any_model)
    plain.load_textual_inversion(str(file), token=TOKEN)
    load_into_pipeline(helped, file, token=TOKEN)
    family.install(Placeholders([Concept(TOKEN)], [vectors]))

    def pooled(tokenizer: Any, encoder: Any) -> tuple[Tensor, Tensor, Tensor]:
        names = " ".join([TOKEN, *(f"{TOKEN}_{i}" for i in range(1, count))])
        ids = tokenizer(f"a photo of {names} in the snow", padding="max_length", return_tensors="pt").input_ids
        end = ids[0].tolist().index(tokenizer.eos_token_id)
        with torch.no_grad():
            output = encoder(ids)
        return output.pooler_output[0], output.last_hidden_state[0, end], output.last_hidden_state[0, ids.argmax()]

    got, _, at_placeholder = pooled(plain.tokenizer, plain.text_encoder)
    assert plain.text_encoder.config.eos_token_id == 2
    assert torch.equal(got, at_placeholder), "transformers has mended this: the fix can go"
    (slot,) = family.slots
    for tokenizer, encoder in [(helped.tokenizer, helped.text_encoder), (slot.tokenizer, slot.encoder)]:
        got, at_end, at_placeholder = pooled(tokenizer, encoder)
        assert torch.equal(got, at_end)
        assert not torch.allclose(got, at_placeholder, atol=1e-2)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_noise_is_the_schedulers(any_model: Path, prediction_type: str) -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_pretrained(any_model, subfolder="scheduler", prediction_type=prediction_type)
    family = load(any_model)
    schedule = replace(family.schedule, prediction_type=prediction_type)
    draws = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 6, 4, 8, 8, generator=draws)
    timesteps = torch.tensor([0, 1, 250, 500, 998, 999])
    torch.testing.assert_close(
        schedule.add_noise(latents, noise, timesteps), scheduler.add_noise(latents, noise, timesteps), rtol=0, atol=1e-6
    )
    target = noise if prediction_type == "epsilon" else scheduler.get_velocity(latents, noise, timesteps)
    torch.testing.assert_close(schedule.target(latents, noise, timesteps), target, rtol=0, atol=1e-6)


def test_every_row_of_every_slot_gets_gradient(
    any_model: Path, make_config: Callable[..., TrainConfig], two_concepts: tuple[Concept, Concept]
) -> None:
    config = make_config(model=str(any_model))
    first, second = (replace(concept, init="random", num_vectors=3) for concept in two_concepts)
    session = prepare(replace(config, concepts=(first, second)), Processes("fp32"))
    for data in session.data:
        batch = draw_batch(data, 0, 0, range(2), 2)
        denoising_losses(session.family, batch, uniform).sum().backward()
    for slot in session.family.slots:
        rows = session.placeholders.rows[slot.name]
        assert rows.shape[0] == 6
        assert rows.grad is not None
        assert (rows.grad.norm(dim=1) > 1e-6).all()
        assert all(parameter.grad is None for parameter in slot.encoder.parameters())


def weights(session_or_pipeline: Any) -> dict[str, str]:
    """The hash of each tensor of the frozen models, by name; the names of the plain pipeline."""
    hashes = {}
    for part in ("unet", "vae", "text_encoder"):
        for name, tensor in getattr(session_or_pipeline, part).state_dict().items():
            hashes[f"{part}.{name.replace('.frozen.', '.')}"] = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
    return hashes


def test_frozen_weights_stay_bit_for_bit(
    any_model: Path,
    make_config: Callable[..., TrainConfig],
    reference_pipeline: Callable[[Path], Any],
    sessions: list[Session],
) -> None:
    before = weights(reference_pipeline(any_model))
    run = train(make_config(model=str(any_model), steps=4, lr=1.0, weight_decay=0.1, preview_every=2))
    pipeline = sessions[0].family.pipeline()
    assert weights(pipeline) == before
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        assert not any(parameter.requires_grad or parameter.grad is not None for parameter in part.parameters())
    start = sessions[0].family.slots[0].table
    moved = read_embedding(run.embeddings[TOKEN]).vectors["clip_l"]
    assert run.best_step[TOKEN] == 0 or torch.cdist(moved, start).min() > 0.1


def test_a_concept_learns_the_same_beside_another(
    any_model: Path,
    make_config: Callable[..., TrainConfig],
    two_concepts: tuple[Concept, Concept],
    tmp_path: Path,
) -> None:
    """The gradients are clipped (max_grad_norm), and clipped apart."""
    config = make_config(model=str(any_model), steps=6, max_grad_norm=1e-3, validate_every=0)
    together = train(replace(config, concepts=two_concepts, name="both"))
    for concept in two_concepts:
        alone = train(replace(config, concepts=(concept,)))
        found = read_embedding(together.embeddings[concept.token]).vectors
        for slot, wanted in read_embedding(alone.embeddings[concept.token]).vectors.items():
            torch.testing.assert_close(found[slot], wanted, rtol=1e-5, atol=1e-6)
        losses = [[line["loss"] for line in run.history if line["token"] == concept.token] for run in (together, alone)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


class Cut(Exception):
    """As a power failure would: nothing is saved."""


def test_a_resumed_run_is_bit_for_bit_the_undisturbed_one(
    any_model: Path, make_config: Callable[..., TrainConfig], two_concepts: tuple[Concept, Concept], tmp_path: Path
) -> None:
    config = replace(make_config(model=str(any_model), steps=9, lr_schedule="cosine", flip=True), concepts=two_concepts)
    undisturbed = train(config)

    def cut(record: dict[str, Any]) -> None:
        if record["step"] == 7:  # a step after the last checkpoint
            raise Cut

    disturbed = replace(config, output=str(tmp_path / "disturbed"))
    with pytest.raises(Cut):
        train(disturbed, callbacks=[cut])
    assert not (tmp_path / "disturbed" / "my-cat" / "my-cat.safetensors").exists()
    resumed = train(replace(disturbed, resume=True))
    for concept in two_concepts:
        files = [run.embeddings[concept.token] for run in (undisturbed, resumed)]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert resumed.best_step == undisturbed.best_step
    histories = [[{**line, "seconds": 0} for line in run.history] for run in (undisturbed, resumed)]
    assert histories[0] == histories[1]
