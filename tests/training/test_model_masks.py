"""Masks that the frozen model finds, against a simple re-computation with diffusers."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sample_data.world.attributes import held_out_description
from sample_data.world.drawing import draw, draw_mask
from tests.learning import prepare_all
from tests.running import MakeConfig, on_step
from ti_trainer import BadInput, Interrupted, TrainConfig, train, train_all
from ti_trainer.config.bundled import TINY_SD
from ti_trainer.data.latents import CachedView
from ti_trainer.families import Family
from ti_trainer.method.randomness import generator
from ti_trainer.training.model_masks import ModelMask

SEED = 5


@pytest.fixture
def view(make_config: MakeConfig) -> CachedView:
    (session,) = prepare_all([make_config()])
    view = session.data.views[1][0]
    view.encode()
    return view


@torch.no_grad()
def test_a_simple_recomputation(
    family: Family, view: CachedView, model: Path, reference_pipeline: Callable[[Path], Any]
) -> None:
    """Eight noises between .3 and .7 of the schedule; "a photo of a cat" beside no text; root of the mean square."""
    from diffusers import DDPMScheduler

    found = ModelMask(family, "cat", 0.25, SEED)(view)
    pipeline = reference_pipeline(model)
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    told, untold = (pipeline.encode_prompt(text, "cpu", 1, False)[0] for text in ("a photo of a cat", ""))
    latents = view.posterior.mean[None] * pipeline.vae.config.scaling_factor
    changes = []
    for index in range(8):
        noise = torch.randn(latents.shape[1:], generator=generator(SEED, "words", index))[None]
        timestep = torch.tensor([int((0.3 + 0.4 * ((0.5 + index * 0.6180339887498949) % 1)) * 1000)])
        noisy = scheduler.add_noise(latents, noise, timestep)
        one, other = (pipeline.unet(noisy, timestep, text).sample[0] for text in (told, untold))
        changes.append((one - other).square().mean(0))
    root = torch.stack(changes).mean(0).sqrt()  # (h, w)
    wanted = 0.25 + 0.75 * (root / root.square().quantile(0.95).sqrt()).clamp(0.4, 1)
    torch.testing.assert_close(found, wanted[None], rtol=1e-4, atol=1e-5)
    assert 0.25 + 0.75 * 0.4 <= found.min() < found.max() == 1


def test_the_subject_counts_most(make_config: MakeConfig, tmp_path: Path) -> None:
    """The bundled model tells a house and a dog from what is around them."""
    names = ("my-house", "my-dog")
    masks = {}
    configs: list[TrainConfig] = []
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        shown = held_out_description(name, "grass", random.Random(0))
        draw(shown, random.Random(0)).save(folder / "1.png")
        masks[name] = draw_mask(shown, random.Random(0))
        configs.append(make_config(images=str(folder), token=f"<{name}>", init=name[3:], model=TINY_SD, masks="model"))
    for session, name in zip(prepare_all(configs), names, strict=True):
        (view,) = session.data.views[0]
        assert view.mask is None
        view.encode()
        assert view.mask is not None
        width, height = view.shape[2], view.shape[1]
        is_subject = torch.from_numpy(np.array(masks[name].resize((width, height), Image.Resampling.BOX))) > 127
        assert view.mask[0, is_subject].mean() > 1.2 * view.mask[0, ~is_subject].mean()


def test_in_every_family(any_model: Path, make_config: MakeConfig) -> None:
    """A weight for each latent, that differs from place to place and from word to word."""
    masks = []
    for word in ("cat", "dog"):
        (session,) = prepare_all([make_config(model=str(any_model), init=word, masks="model")])
        view = session.data.views[0][0]
        view.encode()
        assert view.mask is not None
        assert view.mask.shape == (1, *view.shape[1:])
        assert 0.1 + 0.9 * 0.399 <= view.mask.min() < view.mask.max() == 1
        masks.append(view.mask)
    assert not torch.equal(*masks)


def test_whose_views_get_one(make_config: MakeConfig, pictures: Path, other_pictures: Path, tmp_path: Path) -> None:
    """Not a picture with a mask of its own, nor one of the class; and nobody where backgrounds count as much."""
    folder = shutil.copytree(pictures, tmp_path / "pictures")
    first = sorted(folder.glob("*.png"))[0]
    with Image.open(first) as image:
        mask = Image.new("L", image.size, 0)
    mask.paste(255, (0, 0, mask.width // 2, mask.height))
    mask.save(first.with_suffix(".mask.png"))
    settings = {"images": str(folder), "class_images": str(other_pictures)}
    of_files, of_model, without = prepare_all(
        [
            make_config(**settings, name="files"),
            make_config(**settings, name="model", masks="model"),
            make_config(**settings, name="without", masks="model", mask_background=1),
        ]
    )
    for session in (of_files, of_model, without):
        for shown in session.data.views:
            shown[0].encode()
    assert [shown[0].mask is None for shown in of_files.data.views] == [False] + [True] * 6
    assert [shown[0].mask is None for shown in of_model.data.views] == [False] * 4 + [True] * 3
    assert all(shown[0].mask is None for shown in without.data.views)
    own = of_files.data.views[0][0].mask
    assert own is not None
    torch.testing.assert_close(of_model.data.views[0][0].mask, own, rtol=0, atol=0)


def test_nothing_to_look_for(make_config: MakeConfig) -> None:
    with pytest.raises(BadInput, match=r'masks="model" looks for .* init="random" names nothing: start from a word'):
        prepare_all([make_config(init="random", masks="model")])


def test_alone_together_and_resumed(make_two: Callable[..., list[TrainConfig]], tmp_path: Path) -> None:
    """Other rows than without masks; the same to rounding beside others, and bit for bit after an interrupt."""

    def configs(name: str, masks: str = "model", **changes: Any) -> list[TrainConfig]:
        made = make_two(steps=4, checkpoint_every=2, output=str(tmp_path / name), **changes)
        return [replace(config, concept=replace(config.concept, masks=masks)) for config in made]

    def rows(name: str, concept: str = "my-cat") -> torch.Tensor:
        return load_file(tmp_path / name / concept / "checkpoints" / "step-000004.safetensors")["rows.clip_l"]

    for each in configs("alone"):
        train(each)
    train(configs("without", masks="auto")[0])
    assert (rows("alone") - rows("without")).abs().max() > 1e-4
    train_all(configs("together"))
    for concept in ("my-cat", "my-dog"):
        torch.testing.assert_close(rows("together", concept), rows("alone", concept), rtol=1e-5, atol=1e-6)

    def stop(line: Mapping[str, Any]) -> None:
        if line["step"] == 2:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(configs("resumed")[0], [on_step(stop)])
    train(configs("resumed", resume=True)[0])
    assert torch.equal(rows("resumed"), rows("alone"))
