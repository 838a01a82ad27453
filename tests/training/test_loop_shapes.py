"""Training on pictures of several shapes, with masks, weights and latents from disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.drawing import draw_batch
from tests.learning import prepare_all, share
from ti_trainer import Run, TrainConfig, train
from ti_trainer.data.batches import same_shape, stack_draws
from ti_trainer.data.examples import MaskSource
from ti_trainer.data.geometry import Framing
from ti_trainer.data.latents import LatentPosterior, views_of
from ti_trainer.families.sd import StableDiffusion
from ti_trainer.method.timesteps import parse_timesteps
from ti_trainer.method.weightings import get_weighting, uniform
from ti_trainer.training.objective import denoising_losses
from ti_trainer.training.prepare import Session, encode_rest
from ti_trainer.training.validation import fixed_draw, fixed_noise_losses

MakeConfig = Callable[..., TrainConfig]
STEP = 3  # one that draws everything there is


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures that are squares of the model's size already."""
    folder, draws = tmp_path_factory.mktemp("squares"), np.random.default_rng(4)
    for number in range(3):
        Image.fromarray(draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def checkpoint(run: Run, step: int) -> dict[str, torch.Tensor]:
    return load_file(run.folder / "checkpoints" / f"step-{step:06d}.safetensors")


@pytest.mark.parametrize("flip", [False, True])
def test_squares_that_need_nothing_train_as_ever(make_config: MakeConfig, squares: Path, flip: bool) -> None:
    """Buckets, crops, the disk and a timestep policy that is none: the rows and the losses are the same bits."""
    plain = train(make_config(images=str(squares), flip=flip, name="plain"))
    cache = str(plain.folder.parent / "latents")
    every = {"buckets": True, "latent_cache": cache, "mask_background": 0.5, "timesteps": "range:0-1"}
    for crop in ("random", "subject"):
        run = train(make_config(images=str(squares), flip=flip, crop=crop, name=crop, **every))
        for name, tensor in checkpoint(plain, 8).items():
            assert torch.equal(tensor, checkpoint(run, 8)[name]), name
        losses = [[(line["loss"], line.get("validation_loss")) for line in each.history] for each in (plain, run)]
        assert losses[0] == losses[1]


def test_latents_from_disk_are_those_of_the_vae(
    make_config: MakeConfig, shaped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second run encodes nothing, learns the same bits, and may go on with a run that had no disk."""
    settings = {"images": str(shaped), "buckets": True, "crop": "random", "crops": 3, "flip": True}
    plain = train(make_config(**settings, name="plain"))
    cached = make_config(**settings, latent_cache=str(tmp_path / "latents"))
    (first,) = prepare_all([cached])
    (note,) = encode_rest(first)
    assert "latent cache: 0 of" in note

    encode = StableDiffusion.encode_images

    def no_vae(self: StableDiffusion, pixels: torch.Tensor) -> LatentPosterior:
        assert pixels.is_meta, "the VAE is not needed but for the prediction of memory"
        return encode(self, pixels)

    monkeypatch.setattr(StableDiffusion, "encode_images", no_vae)
    (second,) = prepare_all([cached])
    count = note.split(" of ")[1].split()[0]
    assert encode_rest(second) == [f"latent cache: {count} of {count} found"]
    run = train(replace(cached, name="cached"))
    assert all(torch.equal(tensor, checkpoint(run, 8)[name]) for name, tensor in checkpoint(plain, 8).items())
    train(replace(cached, name="plain", steps=9, resume=True))


@pytest.fixture
def make_mixed(
    make_config: MakeConfig, shaped: Path, pictures: Path, left_edge: MaskSource
) -> Callable[..., list[Session]]:
    """Changes of settings -> the sessions of two concepts.

    The first has three shapes, a mask, a picture of more weight (wide, the last) and one of its class.
    """

    def make(**changes: Any) -> list[Session]:
        cat = make_config(images=str(shaped), batch_size=7, buckets=True, crop="random", crops=2, **changes)
        dog = replace(cat, concept=replace(cat.concept, token="<my-dog>", images=str(pictures), init="dog"))
        of_cat, of_dog = prepare_all([cat, dog])
        almost, high, square, wide = of_cat.data.examples
        examples = [
            *(almost, high, replace(square, is_class=True, weight=0.5)),
            replace(wide, mask=left_edge, weight=3.0),
        ]
        framing = Framing(32, of_cat.family.spec.bucket_step, "random", crops=2)
        views = views_of(examples, "<my-cat>", framing, cat.mask_background, of_cat.gathered.encoder)
        return [replace(of_cat, data=replace(of_cat.data, examples=examples, views=views)), of_dog]

    return make


@pytest.mark.parametrize("size", [7, 3, 1])
def test_gradients_are_those_of_one_example_at_a_time(
    make_mixed: Callable[..., list[Session]], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    sessions = make_mixed(micro_batch_size=size, weighting="debiased", timesteps="late")
    family = sessions[0].family
    sizes: list[int] = []
    predict = family.predict
    monkeypatch.setattr(
        family, "predict", lambda noisy, *others: (sizes.append(len(noisy)), predict(noisy, *others))[1]
    )
    step, learners = share(sessions)
    for learner in learners:
        learner.step = STEP
    losses = step.backward(learners)
    found = [learner.parameters[0].grad for learner in learners]
    assert max(sizes) == min(size, 7)
    assert sum(sizes) == 14

    weighting, late = get_weighting("debiased"), parse_timesteps("late")
    shapes, masks = set(), 0
    for learner, loss, own in zip(learners, losses, found, strict=True):
        alone = []
        for index in range(7):
            batch = draw_batch(learner.data, learner.config.seed, STEP, [index], 7)
            shapes.add(batch.noise.shape)
            masks += batch.mask is not None
            batch = replace(batch, timestep_draws=late(batch.timestep_draws))
            alone.append(denoising_losses(family, batch, weighting).sum() / 7)
        (gradient,) = torch.autograd.grad(sum(alone), learner.parameters)
        assert loss.item() == pytest.approx(sum(alone).item(), rel=1e-5)
        torch.testing.assert_close(own, gradient, rtol=1e-4, atol=1e-6)
    assert len(shapes) == 3
    assert 0 < masks < 7


def test_losses_do_not_depend_on_how_examples_are_grouped(make_mixed: Callable[..., list[Session]]) -> None:
    """A concept beside another, in parts or whole: the mean is taken over its own examples, in their order."""
    losses = []
    for size in (7, 4, 1):
        step, learners = share(make_mixed(micro_batch_size=size))
        losses.append(torch.stack(step.backward(learners)))
        losses.append(torch.stack([step.backward(learners[:1])[0], losses[-1][1]]))
    for each in losses[1:]:
        torch.testing.assert_close(each, losses[0], rtol=2e-6, atol=0)


def test_validation_shows_the_concepts_own_pictures(make_mixed: Callable[..., list[Session]]) -> None:
    """Each by its first view, over the timesteps that are trained, and however many at once."""
    session, _ = make_mixed()
    data, policy = session.data, parse_timesteps("range:0.4-0.8")
    total = 0.0
    draws = {index: fixed_draw(data, 0, index, 8, policy) for index in range(8)}
    for index, draw in draws.items():
        batch = stack_draws([draw])
        own = data.views[(0, 1, 3)[index % 3]][0]
        assert torch.equal(batch.posterior.mean[0], own.posterior.mean)
        assert batch.weights.item() == (1, 1, 3)[index % 3]
        assert batch.shares.item() == 1 / 8
        assert (batch.mask is None) == (index % 3 < 2)
        timestep = session.family.schedule.sample_timesteps(batch.timestep_draws, batch.noise.shape[-2:])
        assert timestep.item() == 425 + 50 * index
        with torch.no_grad():
            total += denoising_losses(session.family, batch, uniform).item() / 8
    assert len(same_shape(draws, lambda shape: 8)) > 1
    for size in (1, 3, 8):
        found = fixed_noise_losses(session.family, draws, lambda shape, size=size: size)
        assert sum(found[index].item() * draws[index].share for index in draws) == pytest.approx(total, rel=1e-5)
