"""How well rows stand in for a text, against simple re-computations with diffusers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ti_trainer import BadInput, Concept, ModelConfig, TrainConfig
from ti_trainer.families import Family, load_family
from ti_trainer.method.randomness import generator
from ti_trainer.method.readouts import Readouts
from ti_trainer.method.weightings import min_snr
from ti_trainer.training.distillation import follow
from ti_trainer.training.signals import StopSignals
from ti_trainer.training.stand_ins import ContextLoss, PredictionLoss, StandInLoss, useful_words

TEXT = "red cat in the snow, good picture of my dog"
FRAMES = ["{token}", "a photo of {token}"]


def config_of(model: Path, **changes: Any) -> TrainConfig:
    how: dict[str, Any] = {"lr": 0.2, "optimizer": "sphere", "warmup_steps": 0, "preview_steps": 1, "batch_size": 2}
    return TrainConfig(Concept("<text>"), model=str(model), **{**how, **changes})


def rows_of(family: Family, word: str) -> dict[str, Tensor]:
    """With these for its rows the token is that word."""
    return {
        slot.name: slot.table[slot.tokenizer(word, add_special_tokens=False).input_ids].detach()
        for slot in family.slots
    }


def load(model: Path) -> Family:
    return load_family(ModelConfig(model=str(model)), torch.device("cpu"), torch.float32)


def test_contexts_are_compared_by_what_is_read_of_them(model: Path, reference_pipeline: Callable[[Path], Any]) -> None:
    """The loss of rows that are those of "dog" is that of the pipeline's own contexts of "dog" and of the text."""
    family = load(model)
    family.placeholders.add("<text>", rows_of(family, "dog"))
    config = config_of(model, seed=3)
    pipeline = reference_pipeline(model)
    for step in range(4):
        draws = generator(3, "distill", "text encoders", "<text>", step)
        frame = FRAMES[int(torch.randint(2, (), generator=draws))].replace("{token}", "{}")
        with torch.no_grad():
            wanted, found = (
                pipeline.encode_prompt(frame.format(words), "cpu", 1, False)[0][0] for words in (TEXT, "dog")
            )
        target = Readouts.of(wanted)
        loss = target.loss(found, target.queries(draws)).item()
        assert ContextLoss(family, config, TEXT, FRAMES, 32).backward(step).item() == pytest.approx(loss, rel=1e-4)
    family.placeholders.present.clear()
    family.placeholders.add("<text>", rows_of(family, TEXT))
    assert ContextLoss(family, config, TEXT, FRAMES, 32).backward(0).item() == pytest.approx(0, abs=1e-8)


def test_predictions_are_compared(model: Path, reference_pipeline: Callable[[Path], Any]) -> None:
    """Again as "dog": the weighted squared difference of the U-Net's predictions, however the batch is cut."""
    from diffusers import DDPMScheduler

    family = load(model)
    rows = family.placeholders.add("<text>", rows_of(family, "dog"))
    config = config_of(model, batch_size=3, weighting="min_snr", seed=1)
    objective = PredictionLoss(family, config, TEXT, FRAMES, 32)
    pipeline = reference_pipeline(model)
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    wanted = 0.0
    for index in range(3):
        picture, frame, noise, place = objective.draw(5, index)
        assert index / 3 <= place < (index + 1) / 3
        timestep = torch.tensor([int(place * 1000)])
        noisy = scheduler.add_noise(objective.latents[[picture]], noise[None], timestep)
        with torch.no_grad():
            predictions = [
                pipeline.unet(
                    noisy,
                    timestep,
                    pipeline.encode_prompt(FRAMES[frame].replace("{token}", words), "cpu", 1, False)[0],
                ).sample
                for words in (TEXT, "dog")
            ]
        alpha = scheduler.alphas_cumprod[timestep]
        weight = min_snr(alpha / (1 - alpha), "epsilon", 5.0).item()
        wanted += weight * (predictions[0] - predictions[1]).square().mean().item() / 3
    gradients = []
    for at_once in (3, 2):
        objective.at_once = at_once
        rows["clip_l"].grad = None
        assert objective.backward(5).item() == pytest.approx(wanted, rel=1e-4)
        assert rows["clip_l"].grad is not None
        gradients.append(rows["clip_l"].grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


def test_pictures_are_drawn_from_the_text_and_not_from_the_rows(model: Path) -> None:
    family = load(model)
    latents = []
    for word in ("dog", "snow"):
        family.placeholders.present.clear()
        family.placeholders.add("<text>", rows_of(family, word))
        latents.append(PredictionLoss(family, config_of(model), TEXT, FRAMES, 32).latents)
    assert torch.equal(*latents)
    assert latents[0].shape == (8, 4, 8, 8)
    other = PredictionLoss(family, config_of(model), "dog", FRAMES, 32).latents
    assert not torch.allclose(other, latents[0])


@torch.no_grad()
def test_useful_words(family: Family) -> None:
    """Those without which the text is read most differently, each left out in turn; in their order, each once."""
    text = "red cat, red dog in the snow"
    words = ["red", "cat", "red", "dog", "in", "the", "snow"]
    target = Readouts.of(family.encode_text([text]).context[0])
    changes: dict[str, float] = {}
    spots = {0: " cat, red dog in the snow", 1: "red , red dog in the snow", 2: "red cat,  dog in the snow"}
    spots |= {3: "red cat, red  in the snow", 4: "red cat, red dog  the snow", 5: "red cat, red dog in  snow"}
    spots |= {6: "red cat, red dog in the "}
    for number, without in spots.items():
        context = family.encode_text([without]).context[0]
        loss = target.loss(context, target.queries(generator(0, "useful words"))).item()
        changes[words[number]] = max(loss, changes.get(words[number], 0.0))
    best = sorted(changes, key=lambda word: -changes[word])[:3]
    found = useful_words(family, text, 3, seed=0).split()
    assert set(found) == set(best)
    with pytest.raises(BadInput, match="no word of the text has as few tokens as num_vectors=1: choose more"):
        useful_words(family, "unbelievable", 1, seed=0)


@pytest.mark.parametrize("kind", [ContextLoss, PredictionLoss])
def test_rows_follow_a_text_in_every_model(any_model: Path, kind: type[StandInLoss]) -> None:
    """The loss falls, on draws that no step has seen; the rows keep their lengths, and the model stays as it is."""
    config = config_of(any_model, timesteps="range:0.5-1")
    family = load(any_model)
    start = {slot.name: slot.table[[5, 50, 100]].detach() for slot in family.slots}
    rows = family.placeholders.add("<text>", start)
    objective = kind(family, config, TEXT, FRAMES, 32)
    before = [objective.backward(step).item() for step in range(100, 104)]
    fingerprint = family.fingerprint
    with StopSignals() as signals:
        assert len(follow(objective, rows, config, 15, signals)) == 15
    after = [objective.backward(step).item() for step in range(100, 104)]
    assert sum(after) < 0.9 * sum(before)
    for slot, own in rows.items():
        torch.testing.assert_close(own.detach().norm(dim=1), start[slot].norm(dim=1))
        assert not torch.allclose(own.detach(), start[slot])
    del family.__dict__["fingerprint"]
    assert family.fingerprint == fingerprint
