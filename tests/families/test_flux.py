"""Flux.1 and Chroma: patches, places, guidance and masks, against the pipelines; the sizes of the published models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.families.full_size import clip_l, millions, t5_xxl, vae_of_16_channels
from tests.tiny_parts import build_t5_tokenizer, build_tokenizer
from ti_trainer import BadInput, ModelConfig
from ti_trainer.families import FAMILIES, Conditioning, load_family
from ti_trainer.families.flow_transformer import pack
from ti_trainer.families.flux import places

CPU, META = torch.device("cpu"), torch.device("meta")
CAPTIONS = ["a red cat in the snow", "dog", "a photo of the red dog on the beach"]


def load(model: Path, **settings: Any) -> Any:
    return load_family(ModelConfig(model=str(model), **settings), CPU, torch.float32)


def test_places_are_the_pipelines() -> None:
    from diffusers import FluxPipeline

    wanted = FluxPipeline._prepare_latent_image_ids(1, 3, 5, CPU, torch.float32)
    assert torch.equal(places(3, 5, torch.zeros(1)), wanted)


@pytest.mark.parametrize("guided", [True, False])
def test_guidance_is_one_where_a_model_wants_it(
    tiny_models: dict[str, Path], reference_pipeline: Callable[[Path], Any], tmp_path: Path, guided: bool
) -> None:
    """Against the real transformer, of dev and of one from which the distillation was taken back."""
    folder = Path(shutil.copytree(tiny_models["flux1"], tmp_path / "model"))
    if not guided:
        change(folder / "transformer" / "config.json", guidance_embeds=False)
    family, transformer = load(folder), reference_pipeline(folder).transformer
    text = family.encode_text(CAPTIONS[:1])
    noisy = torch.randn(1, 16, 8, 12, generator=torch.Generator().manual_seed(0))

    def real(guidance: float) -> torch.Tensor:
        return transformer(
            hidden_states=pack(noisy),
            timestep=torch.tensor([0.7]),
            guidance=torch.tensor([guidance]) if guided else None,
            pooled_projections=text.pooled,
            encoder_hidden_states=text.context,
            txt_ids=torch.zeros(512, 3),
            img_ids=places(4, 6, noisy),
        ).sample

    with torch.no_grad():
        found = pack(family.predict(noisy, torch.tensor([700.0]), text, torch.zeros(1, 6)))
        torch.testing.assert_close(found, real(1.0), rtol=1e-4, atol=1e-5)
        assert torch.equal(real(1.0), real(3.5)) is not guided


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_schnell_is_refused(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_models["flux1"], tmp_path / "model"))
    change(folder / "transformer" / "config.json", guidance_embeds=False)
    change(folder / "scheduler" / "scheduler_config.json", use_dynamic_shifting=False, shift=1.0)
    with pytest.raises(BadInput, match=r"four steps \(schnell\).*: train on Flux\.1 dev, the embedding works in both"):
        load(folder)


@pytest.mark.parametrize("setting", [{"prediction_type": "epsilon"}, {"zero_terminal_snr": True}, {"clip_skip": 1}])
def test_settings_of_others_are_refused(tiny_models: dict[str, Path], setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(setting))):
        load(tiny_models["flux1"], **setting)


def test_a_shift_of_the_users(tiny_models: dict[str, Path]) -> None:
    """In place of that which depends on the size; half-way is then two thirds of noise."""
    schedule = load(tiny_models["flux1"], flow_shift=2.0).schedule
    assert schedule.sample_timesteps(torch.tensor([0.5]), (8, 8)).item() == pytest.approx(2000 / 3)
    with pytest.raises(BadInput, match=r"flow_shift=2\.0 is for flows"):
        load(tiny_models["sd1"], flow_shift=2.0)


def test_the_padding_of_chroma_is_not_seen(
    tiny_models: dict[str, Path], reference_pipeline: Callable[[Path], Any]
) -> None:
    """But one token of it is: as by the real transformer with a mask that leaves tokens out, whatever they are."""
    family, pipeline = load(tiny_models["chroma"]), reference_pipeline(tiny_models["chroma"])
    text = family.encode_text(CAPTIONS)
    assert text.mask is not None
    tokens = [len(pipeline.tokenizer(caption).input_ids) for caption in CAPTIONS]
    assert text.mask.sum(1).tolist() == [count + 1 for count in tokens]
    noisy = torch.randn(3, 16, 8, 12, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([100.0, 500.0, 900.0])
    with torch.no_grad():
        found = family.predict(noisy, timesteps, text, torch.zeros(3, 6))
        for number, count in enumerate(tokens):
            mask = torch.arange(512 + 24) <= count
            mask[512:] = True
            wanted = pipeline.transformer(
                hidden_states=pack(noisy)[[number]],
                timestep=timesteps[[number]] / 1000,
                encoder_hidden_states=text.context[[number]],
                txt_ids=torch.zeros(512, 3),
                img_ids=places(4, 6, noisy),
                attention_mask=mask[None],
            ).sample
            torch.testing.assert_close(pack(found)[[number]], wanted, rtol=1e-4, atol=1e-5)
        other = Conditioning(text.context.where(text.mask[..., None], torch.tensor(9.0)), None, text.mask)
        assert torch.equal(family.predict(noisy, timesteps, other, torch.zeros(3, 6)), found)


def flux() -> tuple[Any, float, list[float]]:
    """Flux.1 dev: 11.9 B."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    pipeline = FluxPipeline(
        FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae_of_16_channels(scaling_factor=0.3611, shift_factor=0.1159),
        clip_l(),
        build_tokenizer(),
        t5_xxl(),
        build_t5_tokenizer(),
        FluxTransformer2DModel(guidance_embeds=True),
    )
    return pipeline, 11901.4, [123.1, 4762.3]


def chroma() -> tuple[Any, float, list[float]]:
    """Chroma 1: 8.9 B."""
    from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler

    pipeline = ChromaPipeline(
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae_of_16_channels(scaling_factor=0.3611, shift_factor=0.1159),
        t5_xxl(),
        build_t5_tokenizer(),
        ChromaTransformer2DModel(),
    )
    return pipeline, 8900.0, [4762.3]


@pytest.mark.parametrize("build", [flux, chroma])
def test_full_size_without_weights(build: Callable[[], tuple[Any, float, list[float]]]) -> None:
    with META:
        pipeline, parameters, encoders = build()
    family: Any = FAMILIES[type(pipeline).__name__](pipeline, ModelConfig(), META, torch.float32, lambda: pipeline.vae)
    assert millions(pipeline.transformer) == parameters
    assert [millions(slot.encoder) for slot in family.slots] == encoders
    assert (family.spec.resolution, family.pixels_per_latent, family.spec.bucket_step) == (1024, 8, 16)
    family.placeholders.add("<my-cat>", {slot.name: torch.zeros(4, slot.width, device=META) for slot in family.slots})
    text = family.encode_text(["a <my-cat>", "a cat"])
    assert text.context.shape == (2, 512, 4096)
    latents = torch.zeros(2, 16, 128, 128, device=META)
    assert family.predict(latents, torch.zeros(2, device=META), text, torch.zeros(2, 6)).shape == latents.shape
    assert family.noise_for_pipeline(latents).shape == (2, 4096, 64)
