"""What every family promises: users of the real diffusers pipeline get what was trained, and nothing else moves.

Everything here runs over every row of TINY_MODELS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ti_trainer
from tests.drawing import draw_batch
from tests.running import on_step
from tests.tiny_models import TINY_MODELS
from ti_trainer import (
    BadInput,
    Concept,
    ModelConfig,
    TrainConfig,
    load_into_pipeline,
    train,
    train_all,
)
from ti_trainer.embedding_files import Embedding, read_embedding, write_embedding
from ti_trainer.families import FAMILIES, Family, TextSlot, load_family
from ti_trainer.method.randomness import generator
from ti_trainer.method.tokens import ROW
from ti_trainer.method.weightings import uniform
from ti_trainer.reports.previews import generate
from ti_trainer.reports.texts import how_to_use
from ti_trainer.runs.folder import RunFolder
from ti_trainer.training.objective import denoising_losses
from ti_trainer.training.prepare import Session, prepare

CPU = torch.device("cpu")
TOKEN = "<my-cat>"
PROMPTS = {
    "first": "<my-cat> in the snow",
    "last": "a photo of a <my-cat>",
    "twice": "a <my-cat> on the beach beside a red <my-cat>, good",
    "without": "a photo of a dog",
    "empty": "",
    "long": "the red dog on the beach " * 6 + "<my-cat>" + " and a photo of the red dog in the snow" * 8,
    "cut": "the red dog on the beach " * 100 + "<my-cat>",
    "cut within": "red " * 73 + "<my-cat>",  # of three rows CLIP reads two
}
# kinds of models whose noise process is that of Ho et al. 2020
DIFFUSIONS = [kind for kind, row in TINY_MODELS.items() if row.prediction_type != "flow_prediction"]


def test_every_family_has_a_tiny_model() -> None:
    """A family that is in no row of TINY_MODELS would be tested by nothing here."""
    assert {row.pipeline for row in TINY_MODELS.values()} == set(FAMILIES)


def load(model: Path, clip_skip: int = 0) -> Any:
    config = ModelConfig(model=str(model), clip_skip=clip_skip)
    return load_family(config, CPU, torch.float32)


def random_vectors(family: Family, count: int, seed: int | None = None) -> dict[str, Tensor]:
    """Rows as large as words are, {slot: (count, D)}."""
    draws = torch.Generator().manual_seed(count if seed is None else seed)
    return {
        slot.name: torch.randn(count, slot.table.shape[1], generator=draws) * slot.table.std() for slot in family.slots
    }


def slots_of(pipeline: Any) -> list[tuple[Any, Any]]:
    """The tokenizers and text encoders of a plain pipeline."""
    pairs = [
        (getattr(pipeline, f"tokenizer{n}", None), getattr(pipeline, f"text_encoder{n}", None))
        for n in ("", "_2", "_3")
    ]
    return [(tokenizer, encoder) for tokenizer, encoder in pairs if encoder is not None]


def load_with_helper(pipeline: Any, webui: Path, layout: list[Path]) -> str:
    return load_into_pipeline(pipeline, webui)


def load_diffusers_layout(pipeline: Any, webui: Path, layout: list[Path]) -> str:
    """What a user of diffusers writes: one call for each encoder."""
    if not hasattr(pipeline, "load_textual_inversion"):
        pytest.skip("this pipeline cannot load embeddings by itself")
    for file, (tokenizer, encoder) in zip(layout, slots_of(pipeline), strict=True):
        pipeline.load_textual_inversion(str(file), tokenizer=tokenizer, text_encoder=encoder)
        encoder.config.eos_token_id = tokenizer.eos_token_id
        getattr(encoder, "text_model", encoder).eos_token_id = tokenizer.eos_token_id
    return TOKEN


@pytest.mark.parametrize("load_file", [load_with_helper, load_diffusers_layout])
@pytest.mark.parametrize("count", [1, 3])
def test_text_is_what_the_pipeline_encodes(
    any_model: Path,
    reference_pipeline: Callable[[Path], Any],
    tmp_path: Path,
    count: int,
    load_file: Callable[[Any, Path, list[Path]], str],
) -> None:
    """For every prompt and clip skip, context and pooled vector are those of `encode_prompt` with the exported file."""
    vectors = random_vectors(load(any_model), count)
    embedding = Embedding(TOKEN, vectors, {"ti_trainer.token": TOKEN})
    (webui,) = write_embedding(embedding, tmp_path / "my-cat.safetensors", "webui")
    layout = write_embedding(embedding, tmp_path / "learned_embeds.safetensors", "diffusers")
    pipeline = reference_pipeline(any_model)
    written = load_file(pipeline, webui, layout)

    for clip_skip in TINY_MODELS[any_model.name].clip_skips:
        family = load(any_model, clip_skip)
        family.placeholders.add(TOKEN, vectors)
        together = family.encode_text(list(PROMPTS.values()))
        for number, (name, prompt) in enumerate(PROMPTS.items()):
            assert_text(
                together,
                number,
                encode_prompt(pipeline, prompt.replace(TOKEN, written), clip_skip),
                name,
                model=any_model,
            )
        # the token changes the text, and clip skip does: the comparison compares something
        replaced = family.encode_text([prompt.replace(TOKEN, "dog") for prompt in PROMPTS.values()])
        changed = (replaced.context - together.context).abs().amax((1, 2)) > 1e-2
        assert changed.tolist() == [TOKEN in prompt and name != "cut" for name, prompt in PROMPTS.items()]
        if replaced.pooled is not None:
            changed = (replaced.pooled - together.pooled).abs().amax(1) > 1e-3
            assert changed.tolist() == [TOKEN in prompt and name != "cut" for name, prompt in PROMPTS.items()]
        if clip_skip:
            assert (load(any_model).encode_text([""]).context - together.context[[4]]).abs().max() > 1e-2


@torch.no_grad()
def encode_prompt(pipeline: Any, prompt: str, clip_skip: int = 0) -> tuple[Tensor, Tensor | None]:
    """Context (L, D) and, where the pipeline has one, the pooled vector (P,) of a plain pipeline."""
    (encode,) = {row.encode for row in TINY_MODELS.values() if row.pipeline == type(pipeline).__name__}
    return encode(pipeline, prompt, clip_skip)


def rounding_of(model: Path) -> float:
    return TINY_MODELS[model.name].rounding


def assert_text(found: Any, number: int, wanted: tuple[Tensor, Tensor | None], name: str = "", *, model: Path) -> None:
    rounding = rounding_of(model)
    torch.testing.assert_close(found.context[number], wanted[0], atol=rounding, rtol=2e-6, msg=name or None)
    assert (found.pooled is None) == (wanted[1] is None)
    if wanted[1] is not None:
        torch.testing.assert_close(found.pooled[number], wanted[1], atol=2e-6, rtol=2e-6, msg=name or None)


def told(family: Family, captions: list[str], owners: list[str] | None = None) -> Tensor:
    """All numbers that a denoiser is told by, of each caption a row."""
    text = family.encode_text(captions, owners)
    context = text.context.flatten(1)
    return context if text.pooled is None else torch.cat([context, text.pooled], dim=1)


def tokens_of(concepts: dict[str, tuple[str, int]]) -> list[tuple[str, str]]:
    return [(key, concepts[key][0]) for key in ("one", "dog")]


MENTIONS = [
    "a photo of a <my-cat>",
    "a <my-cat> beside <dog-2>, and a dog",  # to all but its owner <dog-2> is so many letters
    "<dog-2> in the snow",
    "",
]


def test_every_caption_is_read_with_the_rows_of_its_key(
    any_model: Path, reference_pipeline: Callable[[Path], Any], tmp_path: Path
) -> None:
    """Two concepts of one token and one of another are present: each caption is what a pipeline that has loaded the
    file of its concept alone makes of it, and without keys what one that has loaded both tokens does."""
    family = load(any_model)
    concepts = {"one": (TOKEN, 2), "other": (TOKEN, 1), "dog": ("<dog-2>", 3)}
    files: dict[str, Path] = {}
    for seed, (key, (token, count)) in enumerate(concepts.items()):
        rows = random_vectors(family, count, seed)
        (files[key],) = write_embedding(Embedding(token, rows), tmp_path / f"{key}.safetensors", "webui")
        family.placeholders.add(token, rows, key)

    cases = [(caption, key) for caption in MENTIONS for key in concepts]
    together = family.encode_text([caption for caption, _ in cases], [key for _, key in cases])
    for key, (token, _) in concepts.items():
        pipeline = reference_pipeline(any_model)
        written = load_into_pipeline(pipeline, files[key], token=token)
        for number, (caption, owner) in enumerate(cases):
            if owner == key:
                assert_text(
                    together,
                    number,
                    encode_prompt(pipeline, caption.replace(token, written)),
                    model=any_model,
                )
    one, other, dog = together.context[:3]
    assert min((one - other).abs().max(), (one - dog).abs().max()) > 1e-2

    family.placeholders.remove("other")
    everybody = family.encode_text(MENTIONS)
    pipeline = reference_pipeline(any_model)
    words = {token: load_into_pipeline(pipeline, files[key], token=token) for key, token in tokens_of(concepts)}
    for number, caption in enumerate(MENTIONS):
        for token, written in words.items():
            caption = caption.replace(token, written)
        assert_text(everybody, number, encode_prompt(pipeline, caption), model=any_model)
    assert (everybody.context[1] - together.context[3]).abs().max() > 1e-2


@pytest.mark.parametrize("word", ["dog", "dragon"], ids=["one row", "a row for each part of the word"])
def test_a_tuned_word_is_the_vocabularys_to_all_but_its_owner(
    any_model: Path, reference_pipeline: Callable[[Path], Any], tmp_path: Path, word: str
) -> None:
    family, plain, tuned = load(any_model), reference_pipeline(any_model), reference_pipeline(any_model)
    counts = {len(tokenizer(word, add_special_tokens=False).input_ids) for tokenizer, _ in slots_of(tuned)}
    if len(counts) > 1:
        pytest.skip("its tokenizers cut this word into different numbers of parts")
    rows = random_vectors(family, counts.pop())
    (file,) = write_embedding(Embedding(TOKEN, rows), tmp_path / "tuned.safetensors", "webui")
    written = load_into_pipeline(tuned, file, token=f"<{word}-tuned>")
    family.placeholders.add(word, rows, "tuned")
    family.placeholders.add(TOKEN, random_vectors(family, 1), "cat")
    caption = f"the red {word} in the snow, {word}s and a hot{word}"  # only the first is the word
    found = family.encode_text([caption, caption], ["cat", "tuned"])
    assert_text(found, 0, encode_prompt(plain, caption), model=any_model)
    assert_text(
        found,
        1,
        encode_prompt(tuned, caption.replace(f"red {word}", f"red {written}")),
        model=any_model,
    )
    assert (found.context[1] - found.context[0]).abs().max() > 1e-2
    everybody = family.encode_text([caption])
    torch.testing.assert_close(everybody.context[0], found.context[1], atol=rounding_of(any_model), rtol=2e-6)


def test_a_row_that_is_written_out_is_nothing(any_model: Path) -> None:
    """The tokenizers' word for rows does not stand for any of them in a caption."""
    family = load(any_model)
    family.placeholders.add(TOKEN, random_vectors(family, 2))
    for written in (ROW, ROW.upper(), ROW[:3] + ROW + ROW[3:]):
        caption = f"a {written} photo of {TOKEN}{written} in the {written}snow"
        found, wanted = (family.encode_text([each]) for each in (caption, f"a  photo of {TOKEN} in the snow"))
        assert torch.equal(found.context, wanted.context)
    assert torch.equal(family.encode_text([ROW]).context, family.encode_text([""]).context)


def test_rows_beyond_the_window_get_no_gradient(any_model: Path) -> None:
    """Each slot's, of the longest caption of which its window holds two rows."""
    family = load(any_model)
    parameters = family.placeholders.add(TOKEN, random_vectors(family, 3), "key")
    for slot in family.slots:
        rows = parameters[slot.name]
        text = family.encode_text([caption_with_room_for_two_rows(family, slot)], ["key"])
        (gradient,) = torch.autograd.grad(text.energy, [rows])
        assert (gradient.norm(dim=1) > 1e-6).tolist() == [True, True, False]


def caption_with_room_for_two_rows(family: Family, slot: TextSlot) -> str:
    first = slot.encoder.get_input_embeddings().first
    for words in range(slot.window, 0, -1):
        caption = "red " * words + TOKEN
        (ids,) = family.windows(slot, [family.placeholders.expand(caption)])  # type: ignore[attr-defined]
        if (ids >= first).sum() == 2:
            return caption
    raise AssertionError


def test_gradients_go_to_the_owner_of_the_caption(any_model: Path) -> None:
    """And are those that it gets alone."""
    family, alone = load(any_model), load(any_model)
    captions, keys = [PROMPTS["last"], PROMPTS["last"], PROMPTS["first"]], ["one", "other", "one"]
    rows = {key: random_vectors(family, 2, seed) for seed, key in enumerate(("absent", "one", "other"))}
    present = {key: family.placeholders.add(TOKEN, rows[key], key) for key in rows}
    upstream = torch.randn(told(family, captions, keys).shape, generator=torch.Generator().manual_seed(0))
    told(family, captions, keys).backward(upstream)
    for key, numbers in {"one": [0, 2], "other": [1]}.items():
        own = alone.placeholders.add(TOKEN, rows[key], key)
        told(alone, [captions[i] for i in numbers]).backward(upstream[numbers])
        alone.placeholders.remove(key)
        for slot, wanted in own.items():
            assert wanted.grad is not None
            assert (wanted.grad.norm(dim=1) > 1e-3).all()
            torch.testing.assert_close(present[key][slot].grad, wanted.grad, rtol=1e-4, atol=1e-6)
    for absent in present["absent"].values():
        assert absent.grad is None or not absent.grad.any()


def test_who_comes_and_goes_changes_nothing_for_who_stays(any_model: Path) -> None:
    """Text, gradients, tokenizers and vocabularies, to the bit."""
    family = load(any_model)
    tables = {slot.name: slot.table.clone() for slot in family.slots}
    words = {slot.name: slot.tokenizer.get_vocab() for slot in family.slots}
    captions, keys = [PROMPTS["last"], PROMPTS["twice"], PROMPTS["without"]], ["stays"] * 3

    def observe() -> list[bytes]:
        for rows in stays.values():
            rows.grad = None
        text = family.encode_text(captions, keys)
        text.energy.backward()
        tensors = [text.context.detach(), *(rows.grad for rows in stays.values())]
        if text.pooled is not None:
            tensors.append(text.pooled.detach())
        return [tensor.numpy().tobytes() for tensor in tensors]

    family.placeholders.add(TOKEN, random_vectors(family, 3), "first")
    stays = family.placeholders.add(TOKEN, random_vectors(family, 2), "stays")
    before = observe()
    family.placeholders.add("dog", random_vectors(family, 1), "last")  # a word of the captions
    assert observe() == before
    family.placeholders.remove("first")
    assert observe() == before
    family.placeholders.remove("last")
    assert observe() == before
    for slot in family.slots:
        assert torch.equal(slot.table, tables[slot.name])
        assert slot.tokenizer.get_vocab() == words[slot.name]
        assert ROW in words[slot.name]
        assert len(slot.table) >= len(slot.tokenizer) - 1  # ROW is no word of the encoder


def test_repeated_and_separate_captions_give_the_same_text(any_model: Path) -> None:
    family = load(any_model)
    family.placeholders.add(TOKEN, random_vectors(family, 2))
    captions = [PROMPTS["last"], PROMPTS["empty"], PROMPTS["last"], PROMPTS["twice"]]
    together = family.encode_text(captions).context
    alone = torch.cat([family.encode_text([caption]).context for caption in captions])
    torch.testing.assert_close(together, alone, atol=rounding_of(any_model), rtol=2e-6)


def test_gradients_are_bit_for_bit_the_same_on_several_threads(any_model: Path) -> None:
    """A caption that several examples share gathers its gradient in one order."""
    family = load(any_model)
    parameters = family.placeholders.add(TOKEN, random_vectors(family, 2))
    captions = [[PROMPTS["first"], PROMPTS["last"], PROMPTS["twice"]][i % 3] for i in range(120)]
    draws = torch.Generator().manual_seed(0)
    upstream = torch.randn(told(family, captions).shape, generator=draws)
    seen = set()
    torch.set_num_threads(4)
    try:
        for _ in range(8):
            for rows in parameters.values():
                rows.grad = None
            told(family, captions).backward(upstream)
            seen.add(b"".join(rows.grad.numpy().tobytes() for rows in parameters.values()))
    finally:
        torch.set_num_threads(1)
    assert len(seen) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_text_is_pooled_at_its_end(
    any_model: Path, reference_pipeline: Callable[[Path], Any], tmp_path: Path, count: int
) -> None:
    """Published configs of CLIP say `eos_token_id: 2`: transformers then pools at the highest id, a new token's."""
    family = load(any_model)
    vectors = random_vectors(family, count)
    file = tmp_path / "my-cat.safetensors"
    write_embedding(Embedding(TOKEN, vectors), file, "webui")
    plain, helped = reference_pipeline(any_model), reference_pipeline(any_model)
    load_into_pipeline(helped, file, token=TOKEN)
    family.placeholders.add(TOKEN, vectors)
    names = [TOKEN, *(f"{TOKEN}_{i}" for i in range(1, count))]

    def read(tokenizer: Any) -> Tensor:
        text = f"a photo of {' '.join(names)} in the snow"
        return tokenizer(text, padding="max_length", return_tensors="pt").input_ids

    def pooled(tokenizer: Any, encoder: Any, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        end = ids[0].tolist().index(tokenizer.eos_token_id)
        with torch.no_grad():
            output = getattr(encoder, "text_model", encoder)(ids)
        return output.pooler_output[0], output.last_hidden_state[0, end], output.last_hidden_state[0, ids.argmax()]

    text = family.placeholders.expand(f"a photo of {TOKEN} in the snow")
    for slot, unmended, mended in zip(family.slots, slots_of(plain), slots_of(helped), strict=True):
        if not slot.name.startswith("clip"):  # only CLIP has a pooled vector
            continue
        tokenizer, encoder = unmended
        tokenizer.add_tokens(names)
        encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        encoder.get_input_embeddings().weight.data[-count:] = vectors[slot.name]
        got, _, at_placeholder = pooled(*unmended, read(tokenizer))
        assert encoder.config.eos_token_id == 2
        assert torch.equal(got, at_placeholder), "transformers has mended this: the fix can go"
        ours = (slot.tokenizer, slot.encoder, *family.windows(slot, [text]))
        for parts in (ours, (*mended, read(mended[0]))):
            got, at_end, at_placeholder = pooled(*parts)
            assert torch.equal(got, at_end)
            assert not torch.allclose(got, at_placeholder, atol=1e-2)


@pytest.mark.parametrize("kind", DIFFUSIONS)
def test_noise_is_the_schedulers(tiny_models: dict[str, Path], kind: str) -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_pretrained(tiny_models[kind], subfolder="scheduler")
    schedule = load(tiny_models[kind]).schedule
    draws = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 6, 4, 8, 8, generator=draws)
    timesteps = torch.tensor([0, 1, 250, 500, 998, 999])
    noisy = scheduler.add_noise(latents, noise, timesteps)
    torch.testing.assert_close(schedule.add_noise(latents, noise, timesteps), noisy, rtol=0, atol=1e-6)
    assert schedule.prediction_type == scheduler.config.prediction_type
    velocity = schedule.prediction_type == "v_prediction"
    target = scheduler.get_velocity(latents, noise, timesteps) if velocity else noise
    torch.testing.assert_close(schedule.target(latents, noise, timesteps), target, rtol=0, atol=1e-6)
    if scheduler.config.rescale_betas_zero_snr:  # Lin et al. 2023: the last step is pure noise, its target -latents
        assert torch.equal(noisy[-1], noise[-1])
        assert torch.equal(schedule.target(latents, noise, timesteps)[-1], -latents[-1])
        assert schedule.snr(timesteps)[-1] == 0


@pytest.mark.parametrize("kind", sorted(TINY_MODELS.keys() - DIFFUSIONS))
def test_noise_of_a_flow_is_the_schedulers(tiny_models: dict[str, Path], kind: str) -> None:
    """Also its timesteps: those of the fractions 1, 0.999, ..., 0.001, with the model's shift."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(tiny_models[kind], subfolder="scheduler")
    mu = TINY_MODELS[kind].mu
    if mu is not None:  # that of 8 x 8 latents
        scheduler.set_timesteps(sigmas=torch.arange(1000, 0, -1).numpy() / 1000, mu=mu(16))
    family = load(tiny_models[kind])
    draws = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 6, family.latent_channels, 8, 8, generator=draws)
    places = torch.tensor([0, 1, 250, 500, 998, 999])
    timesteps = family.schedule.sample_timesteps(1 - places / 1000, (8, 8))
    torch.testing.assert_close(timesteps, scheduler.timesteps[places], rtol=1e-5, atol=1e-3)
    noisy = scheduler.scale_noise(latents, scheduler.timesteps[places], noise)
    torch.testing.assert_close(family.schedule.add_noise(latents, noise, timesteps), noisy, rtol=0, atol=1e-5)
    assert torch.equal(family.schedule.target(latents, noise, timesteps), noise - latents)
    assert family.schedule.prediction_type == TINY_MODELS[kind].prediction_type


def test_latents_are_those_that_the_pipeline_decodes(
    any_model: Path, reference_pipeline: Callable[[Path], Any]
) -> None:
    """Encoded pictures, drawn by the plain pipeline from our latents without a step, are what the VAE decodes."""
    family = load(any_model)
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sample = family.encode_images(pixels).mean
    assert sample.shape == (1, family.latent_channels, 8, 8)
    vae, row = reference_pipeline(any_model).vae, TINY_MODELS[any_model.name]
    with torch.no_grad():
        plain = row.frames(sample)
        torch.testing.assert_close(plain, vae.encode(row.frames(pixels)).latent_dist.mean)
        decoded = vae.decode(row.denorm(vae, family.to_latents(sample))).sample
        torch.testing.assert_close(decoded, vae.decode(plain).sample, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("prediction_type", "zero"), [("epsilon", False), ("v_prediction", False), ("v_prediction", True)]
)
@pytest.mark.parametrize("kind", DIFFUSIONS)
def test_noise_process_by_flag(tiny_models: dict[str, Path], kind: str, prediction_type: str, zero: bool) -> None:
    """For checkpoints whose scheduler config does not say what they were trained with."""
    from diffusers import DDPMScheduler

    config = ModelConfig(model=str(tiny_models[kind]), prediction_type=prediction_type, zero_terminal_snr=zero)
    family = load_family(config, CPU, torch.float32)
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", rescale_betas_zero_snr=zero
    )
    torch.testing.assert_close(family.schedule.alphas_cumprod, scheduler.alphas_cumprod, rtol=0, atol=1e-7)
    assert family.schedule.prediction_type == prediction_type
    settings = family.pipeline().scheduler.config  # previews sample the same process
    assert (settings.prediction_type, settings.rescale_betas_zero_snr) == (prediction_type, zero)
    assert not zero or settings.timestep_spacing == "trailing"


def test_every_row_of_every_slot_gets_gradient(
    any_model: Path, make_config: Callable[..., TrainConfig], two_concepts: tuple[Concept, Concept]
) -> None:
    config, family = make_config(model=str(any_model)), load(any_model)
    sessions = [
        prepare(replace(config, concept=replace(concept, init="random", num_vectors=3)), lambda: family, key)
        for concept, key in zip(two_concepts, ("first", "second"), strict=True)
    ]
    for session in sessions:
        batch = draw_batch(session.data, 0, 0, range(2), 2)
        denoising_losses(family, batch, uniform).sum().backward()
    for slot in family.slots:
        for session in sessions:
            rows = session.rows[slot.name]
            assert rows.shape[0] == 3
            assert rows.grad is not None
            assert (rows.grad.norm(dim=1) > 1e-6).all()
        assert all(parameter.grad is None for parameter in slot.encoder.parameters())


def weights(pipeline: Any) -> dict[str, str]:
    """The hash of each tensor of the frozen models, by name; the names of the plain pipeline."""
    hashes = {}
    for part, module in pipeline.components.items():
        for name, tensor in module.state_dict().items() if isinstance(module, torch.nn.Module) else ():
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
    for part in (sessions[0].family.denoiser, pipeline.vae, *(encoder for _, encoder in slots_of(pipeline))):
        assert not any(parameter.requires_grad or parameter.grad is not None for parameter in part.parameters())
    slots = sessions[0].family.slots
    moved = read_embedding(run.embedding).fit({slot.name: slot.width for slot in slots})
    assert run.best_step == 0 or all(torch.cdist(moved[slot.name], slot.table).min() > 0.1 for slot in slots)


def test_a_concept_learns_the_same_beside_another(
    any_model: Path, make_two: Callable[..., list[TrainConfig]], tmp_path: Path
) -> None:
    """The gradients are clipped (max_grad_norm), and clipped apart."""
    configs = make_two(model=str(any_model), steps=6, max_grad_norm=1e-3, validate_every=0)
    for config, together in zip(configs, train_all(configs), strict=True):
        alone = train(replace(config, output=str(tmp_path / "alone")))
        found = read_embedding(together.embedding).vectors
        for slot, wanted in read_embedding(alone.embedding).vectors.items():
            # products of other batches round otherwise, and Adam enlarges that where gradients are small
            torch.testing.assert_close(found[slot], wanted, rtol=1e-3, atol=3e-5)
        losses = [[line["loss"] for line in run.history] for run in (together, alone)]
        assert len(losses[1]) >= 6
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


class Cut(BaseException):
    """As a power failure would: nothing is saved."""


def test_a_resumed_run_is_bit_for_bit_the_undisturbed_one(
    any_model: Path, make_two: Callable[..., list[TrainConfig]], tmp_path: Path
) -> None:
    configs = make_two(model=str(any_model), steps=9, lr_schedule="cosine", flip=True)
    undisturbed = train_all(configs)

    def cut(record: dict[str, Any]) -> None:
        if record["step"] == 7:  # a step after the last checkpoint
            raise Cut

    disturbed = [replace(config, output=str(tmp_path / "disturbed")) for config in configs]
    with pytest.raises(Cut):
        train_all(disturbed, callbacks=[on_step(cut)])
    for name in ("my-cat", "my-dog"):
        assert (tmp_path / "disturbed" / name / "checkpoints").exists()
        assert not (tmp_path / "disturbed" / name / f"{name}.safetensors").exists()
    resumed = train_all([replace(config, resume=True) for config in disturbed])
    for one, other in zip(undisturbed, resumed, strict=True):
        assert Path(one.embedding).read_bytes() == Path(other.embedding).read_bytes()
        assert one.best_step == other.best_step
        histories = [[{**line, "seconds": 0} for line in run.history] for run in (one, other)]
        assert histories[0] == histories[1]


def test_previews_are_what_the_pipeline_draws(
    any_model: Path, reference_pipeline: Callable[[Path], Any], tmp_path: Path
) -> None:
    """From the same noise: prompts and an empty negative prompt, given to a plain pipeline with the exported file."""
    import diffusers

    family = load(any_model)
    vectors = random_vectors(family, 3)
    (file,) = write_embedding(Embedding(TOKEN, vectors), tmp_path / "my-cat.safetensors", "webui")
    pipeline = reference_pipeline(any_model)
    written = load_into_pipeline(pipeline, file, token=TOKEN)
    sampler = getattr(diffusers, TINY_MODELS[any_model.name].sampler)
    pipeline.scheduler = sampler.from_config(pipeline.scheduler.config)
    family.placeholders.add(TOKEN, vectors)
    prompts = [PROMPTS["first"], PROMPTS["without"]]
    found = generate(family, prompts, seed=0, steps=2, guidance=5.0, size=(32, 32))
    shape = (family.latent_channels, 8, 8)
    noise = torch.stack([torch.randn(shape, generator=generator(0, "preview", i)) for i in range(2)])
    packed = family.noise_for_pipeline(noise)
    torch.testing.assert_close(TINY_MODELS[any_model.name].unpack(packed), noise)
    texts = [prompt.replace(TOKEN, written) for prompt in prompts]
    wanted = TINY_MODELS[any_model.name].draw(pipeline, texts, packed, 2, 5.0)
    for picture, array in zip(found, wanted, strict=True):
        assert np.abs(np.asarray(picture) - array * 255).max() <= 1.01
    assert np.abs(wanted[0] - wanted[1]).max() > 0.02


def test_the_calls_that_users_are_told_load_the_file(
    any_model: Path, make_config: Callable[..., TrainConfig], reference_pipeline: Callable[[Path], Any]
) -> None:
    """Run as they are written, but for the line that draws: its prompt is read with the rows of the run."""
    config = make_config(model=str(any_model), steps=1)
    run, family = train(config), load(any_model)
    rows = read_embedding(run.embedding).fit({slot.name: slot.width for slot in family.slots})
    family.placeholders.add(TOKEN, rows)
    lines = [
        line.removeprefix("  diffusers:").strip() for line in how_to_use(config.concept, RunFolder(config), family)
    ]
    *calls, draws = lines[lines.index(next(line for line in lines if "pipeline" in line)) :]
    names: dict[str, Any] = {"pipeline": reference_pipeline(any_model), "ti_trainer": ti_trainer}
    for call in calls:
        if not call.startswith("or all at once"):
            exec(call, names)
    assert draws.startswith("pipeline(")
    prompt = eval(draws.removeprefix("pipeline(prompt=").removesuffix(")"), names)
    for tokenizer, encoder in slots_of(names["pipeline"]):
        encoder.config.eos_token_id = getattr(encoder, "text_model", encoder).eos_token_id = tokenizer.eos_token_id
    assert_text(
        family.encode_text([f"a photo of a {TOKEN} on the beach"]),
        0,
        encode_prompt(names["pipeline"], prompt),
        model=any_model,
    )


def test_captions_of_several_windows_are_read_or_refused(any_model: Path) -> None:
    """A denoiser that takes no mask cannot leave out the padding of shorter captions: see test_windows.py."""
    config = ModelConfig(model=str(any_model), long_captions="chunk")
    if TINY_MODELS[any_model.name].chunks:
        family = load_family(config, CPU, torch.float32)
        assert family.encode_text([PROMPTS["cut"]]).context.shape[1] > family.encode_text([""]).context.shape[1]
    else:
        with pytest.raises(BadInput, match=r"long_captions=\"chunk\" is for text encoders with windows of 77"):
            load_family(config, CPU, torch.float32)
