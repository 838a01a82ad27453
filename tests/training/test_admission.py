"""Who is let in when, and what waits until the first step is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.learning import learners_of
from tests.run_folders import last_checkpoint
from tests.running import MakeConfig, history_of, interrupting, losses_measured, on_step
from ti_trainer import TrainConfig, train, train_all
from ti_trainer.data.batches import stack_draws
from ti_trainer.data.latents import LatentPosterior
from ti_trainer.embedding_files import read_embedding
from ti_trainer.errors import Interrupted
from ti_trainer.families.latent_diffusion import LatentDiffusion
from ti_trainer.method.weightings import uniform
from ti_trainer.runs.folder import RunFolder
from ti_trainer.training.learner import Learner
from ti_trainer.training.objective import denoising_losses
from ti_trainer.training.prepare import Session
from ti_trainer.training.step import SharedStep


def loss_of_first_rows(config: TrainConfig) -> float:
    step, (learner,) = learners_of([config])
    batches = [stack_draws([learner.fixed_draw(index)]) for index in range(config.validation_samples)]
    with torch.no_grad():
        return sum(denoising_losses(step.family, batch, uniform).item() for batch in batches) / len(batches)


@pytest.mark.parametrize("validate_every", [1, 3])
def test_the_first_rows_are_measured_after_the_first_step(
    quick: MakeConfig, learned: Path, monkeypatch: pytest.MonkeyPatch, validate_every: int
) -> None:
    """And also after a resume from the checkpoint of step 0, but after no other."""
    config = quick(steps=5, lr=20.0, validate_every=validate_every, checkpoint_every=1, init=f"file:{learned}")
    wanted = loss_of_first_rows(config)
    counts: list[int] = []
    original = SharedStep.fixed_noise_losses

    def measure(self: SharedStep, learners: list[Learner]) -> list[float]:
        counts.append(len(learners))
        return original(self, learners)

    monkeypatch.setattr(SharedStep, "fixed_noise_losses", measure)
    first = train(config)
    times = len(losses_measured(first)) + 1
    assert sum(counts) == times
    folder = RunFolder(config)
    kept = {path: path.read_bytes() for path in folder.path.rglob("*.safetensors")}
    lines = history_of(folder.path)
    for resumed_from in (0, 1, 2):
        folder.checkpoints.drop_after(resumed_from)
        folder.storage.withdraw("my-cat")
        counts.clear()
        again = train(replace(config, resume=True))
        assert sum(counts) == len([step for step in losses_measured(again) if step > resumed_from]) + (not resumed_from)
        assert again.best_step == first.best_step == 0
        assert last_checkpoint(folder).info["best"] == [0, pytest.approx(wanted, rel=1e-5)]
        assert {path: path.read_bytes() for path in folder.path.rglob("*.safetensors")} == kept
        assert history_of(folder.path) == lines


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The pixels of every view that the VAE encodes."""
    seen: list[torch.Tensor] = []
    original = LatentDiffusion.encode_images

    def encode(self: LatentDiffusion, pixels: torch.Tensor) -> LatentPosterior:
        if not pixels.is_meta:  # memory is predicted on that device
            seen.append(pixels)
        return original(self, pixels)

    monkeypatch.setattr(LatentDiffusion, "encode_images", encode)
    return seen


@pytest.mark.parametrize(("batch_size", "flip", "views"), [(1, False, 4), (2, True, 8)])
def test_pictures_that_can_wait_do(
    quick: MakeConfig,
    sessions: list[Session],
    encoded: list[torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
    flip: bool,
    views: int,
) -> None:
    """The first step waits for its own pictures, the second for all; then the VAE goes, and after previews again."""
    counts: list[tuple[int, int, bool]] = []
    original = SharedStep.backward

    def gradients(self: SharedStep, learners: list[Learner]) -> list[torch.Tensor]:
        before = len(encoded)
        losses = original(self, learners)
        counts.append((before, len(encoded), sessions[0].family._vae is None))
        shown = {id(learners[0].draw(index).view) for index in range(batch_size)}
        if len(counts) == 1:
            ready = {id(view) for shown in sessions[0].data.views for view in shown if view.is_encoded}
            assert ready == shown
            assert len(encoded) == len(shown)
        return losses

    monkeypatch.setattr(SharedStep, "backward", gradients)
    train(quick(steps=1, batch_size=batch_size, flip=flip, validate_every=0, name="one"))
    assert counts == [(batch_size, batch_size, True)]
    assert len(encoded) == views
    assert all(view.is_encoded for shown in sessions[0].data.views for view in shown)
    assert sessions[0].family._vae is None
    assert len({pixels.numpy().tobytes() for pixels in encoded}) == views

    for preview_every in (0, 3):
        for each in (counts, encoded, sessions):
            each.clear()
        config = quick(steps=5, batch_size=batch_size, flip=flip, validate_every=0, preview_every=preview_every)
        train(replace(config, name=f"previews-{preview_every}"))
        assert counts[:3] == [(batch_size, batch_size, True), (views, views, True), (views, views, True)]
        assert counts[3:] == [(views, views, True)] * 2
        assert sessions[0].family._vae is None


def test_the_vae_stays_while_concepts_wait(
    make_two: Callable[..., list[TrainConfig]], sessions: list[Session], encoded: list[torch.Tensor]
) -> None:
    """One concept at a time fits: the VAE goes when the last has been encoded."""
    cat, dog = make_two(steps=2, batch_size=2, micro_batch_size=3, validate_every=0)
    loaded: list[tuple[str, int, bool]] = []

    def look(line: dict[str, Any]) -> None:
        if line["step"] == 2:
            loaded.append((line["token"], len(encoded), sessions[0].family._vae is None))

    train_all([cat, dog], callbacks=[on_step(look)])
    assert sessions[0].family is sessions[1].family
    assert loaded == [("<my-cat>", 4, False), ("<my-dog>", 7, True)]


def test_whoever_waits_is_not_let_in_after_an_interrupt(
    make_two: Callable[..., list[TrainConfig]], sessions: list[Session]
) -> None:
    """It comes with the last step of the one that is being trained: that one is finished, the other not begun."""
    configs = make_two(steps=4, batch_size=2, micro_batch_size=3)
    with pytest.raises(Interrupted, match="the same again with resume=True"):
        train_all(configs, callbacks=[interrupting(4)])
    assert [session.data.token for session in sessions] == ["<my-cat>"]
    output = Path(configs[0].output)
    assert [path.name for path in (output / "manifest").iterdir()] == ["my-cat.json"]
    assert not (output / "my-dog").exists()
    (run,) = train_all([replace(config, resume=True) for config in configs])
    assert [(line["step"], line["token"]) for line in run.history] == [(step, "<my-dog>") for step in range(1, 5)]
    (alone,) = train_all([replace(configs[1], name="alone")])
    assert torch.equal(*(read_embedding(each.embedding).vectors["clip_l"] for each in (run, alone)))
