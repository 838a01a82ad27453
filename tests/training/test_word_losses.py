"""What a model's losses under texts are, against a simple re-computation with diffusers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.learning import prepare_all
from ti_trainer import TrainConfig
from ti_trainer.method.placeholders import NOBODY
from ti_trainer.method.randomness import generator
from ti_trainer.method.weightings import debiased
from ti_trainer.training.prepare import Session
from ti_trainer.training.word_losses import GOLDEN, WordLosses

SEED = 5
TEXTS = ["cat", "orange cat with a red"]
CAPTIONS = ["a photo of a cat", "a photo of an orange cat with a red"]


@pytest.fixture
def session(make_config: Callable[..., TrainConfig]) -> Session:
    return prepare_all([make_config()])[0]


def losses_of(session: Session, **how: Any) -> WordLosses:
    return WordLosses(session.family, [view for (view,) in session.data.views], SEED, **how)


@torch.no_grad()
def test_a_simple_recomputation(session: Session, model: Path, reference_pipeline: Callable[[Path], Any]) -> None:
    """Picture i mod 4, timesteps spread over .3 to .8 of the schedule, the same noise for both, the VAE's mean."""
    from diffusers import DDPMScheduler

    pipeline = reference_pipeline(model)
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    wanted = torch.empty(len(TEXTS), 6)
    for row, caption in enumerate(CAPTIONS):
        text, _ = pipeline.encode_prompt(caption, torch.device("cpu"), 1, False)
        for index in range(3, 9):
            latents = session.data.views[index % 4][0].encode().mean[None] * pipeline.vae.config.scaling_factor
            noise = torch.randn(latents.shape[1:], generator=generator(SEED, "words", index))[None]
            timestep = torch.tensor([int((0.3 + 0.5 * ((0.5 + index * 0.6180339887498949) % 1)) * 1000)])
            prediction = pipeline.unet(scheduler.add_noise(latents, noise, timestep), timestep, text).sample
            wanted[row, index - 3] = (prediction - noise).square().mean()
    torch.testing.assert_close(losses_of(session)(TEXTS, range(3, 9)), wanted, rtol=1e-5, atol=1e-6)
    assert (wanted[0] - wanted[1]).abs().max() > 1e-4


def test_batches_and_passes(session: Session) -> None:
    """However the passes are put into batches the losses are the same, and each pass is told once."""
    passes: list[int] = []
    whole = losses_of(session)(TEXTS, range(7))
    parts = losses_of(session, passed=passes.append, positions=3 * 64)(TEXTS, range(7))  # 8 x 8 latents, 3 at once
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    assert passes == [3, 3, 3, 3, 2]
    torch.testing.assert_close(losses_of(session)(TEXTS[1:], range(4, 7)), whole[1:, 4:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("levels", [(0.3, 0.8), (0.5, 1.0)])
def test_draws_see_noise_levels_evenly(session: Session, levels: tuple[float, float]) -> None:
    """Any 16 draws in a row leave no gap of a tenth of the schedule between the two levels."""
    low, high = levels
    assert losses_of(session).levels == (0.3, 0.8)
    losses = losses_of(session, levels=levels)
    for first in (0, 5, 40):
        places = sorted(losses.draw(index).timestep for index in range(first, first + 16))
        gaps = [after - before for before, after in zip([low, *places], [*places, high], strict=True)]
        assert 0 <= min(gaps) <= max(gaps) < 0.1
    assert pytest.approx((5**0.5 - 1) / 2) == GOLDEN


def test_weights(session: Session) -> None:
    """Each draw's loss times the weight of its timestep."""
    losses = losses_of(session)
    schedule = session.family.schedule
    timesteps = schedule.sample_timesteps(torch.tensor([losses.draw(index).timestep for index in range(5)]), (8, 8))
    weights = debiased(schedule.snr(timesteps), "epsilon")
    weighted = losses_of(session, weighting=debiased)(TEXTS, range(5))
    torch.testing.assert_close(weighted, losses(TEXTS, range(5)) * weights)
    assert weights.max() > 2 * weights.min()


def test_views_of_several_shapes(make_config: Callable[..., TrainConfig], shaped: Path) -> None:
    """Views of several shapes come back in the order of the draws."""
    session = prepare_all([make_config(images=str(shaped), buckets=True, resolution=32)])[0]
    views = [view for (view,) in session.data.views]
    assert len({view.shape for view in views}) > 1
    together = WordLosses(session.family, views, SEED)(TEXTS, range(4))
    for number, view in enumerate(views):
        alone = WordLosses(session.family, [view] * 4, SEED)(TEXTS, range(number, number + 1))
        torch.testing.assert_close(together[:, number : number + 1], alone, rtol=1e-5, atol=1e-6)


def test_words_are_the_models_own(session: Session) -> None:
    """Also while another concept is present whose token is one of them, as a tuned word is."""
    before = losses_of(session)(TEXTS, range(4))
    slot = session.family.slots[0]
    session.family.placeholders.add("cat", {slot.name: 9 * slot.table[:1].detach()}, "tuned")
    assert torch.equal(losses_of(session)(TEXTS, range(4)), before)
    own, tuned = (session.family.encode_text(CAPTIONS[:1], owners).context for owners in ([NOBODY], None))
    assert not torch.allclose(own, tuned)
