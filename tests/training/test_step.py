"""Steps that several concepts share: each gets the loss and the gradient that it would have alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import AdamW

import ti_trainer.training.step
from tests.drawing import draw_batch
from tests.learning import learners_of, one_by_one, prepare_all
from ti_trainer import TrainConfig, train, train_all
from ti_trainer.data.batches import stack_draws
from ti_trainer.embedding_files import read_embedding
from ti_trainer.method.optimizers import OPTIMIZERS, UpdateRule
from ti_trainer.method.weightings import get_weighting, uniform
from ti_trainer.training.learner import Learner
from ti_trainer.training.objective import denoising_losses
from ti_trainer.training.processes import Processes
from ti_trainer.training.step import SharedStep, largest_batch, weigh_each

MakeConfig = Callable[..., TrainConfig]
MakeThree = Callable[..., tuple[SharedStep, list[Learner]]]


@pytest.fixture
def make_three(make_config: MakeConfig, other_pictures: Path) -> MakeThree:
    """Changes of what they must share -> three learners in the middle of runs that differ in everything else."""

    def make(**changes: Any) -> tuple[SharedStep, list[Learner]]:
        cat = make_config(batch_size=5, validation_samples=3, num_vectors=2, weight_decay=0.1, **changes)
        dog = {"token": "<my-dog>", "images": str(other_pictures), "init": "dog", "num_vectors": 1}
        configs = [
            cat,
            make_config(**{**dog, **changes}, batch_size=2, weighting="min_snr", timesteps="late", seed=4, lr=0.3),
            make_config(
                **changes,
                token="<my-red>",
                init="red",
                class_images=str(other_pictures),
                batch_size=4,
                weighting="debiased",
                timesteps="range:0.3-0.7",
                resolution=48,
                flip=True,
                validation_samples=7,
            ),
        ]
        step, learners = learners_of(configs)
        for learner, number in zip(learners, (0, 11, 5), strict=True):
            learner.step = number
        return step, learners

    return make


def assert_gradients(learners: list[Learner], losses: list[Tensor], wanted: list[tuple[Tensor, list[Tensor]]]) -> None:
    for learner, loss, (own_loss, own) in zip(learners, losses, wanted, strict=True):
        torch.testing.assert_close(loss, own_loss, rtol=1e-5, atol=0)
        for rows, gradient in zip(learner.parameters, own, strict=True):
            assert gradient.norm() > 1e-4
            # in norm, not in each number: small ones are differences of large ones, summed in another order
            assert (rows.grad - gradient).norm() < 1e-5 * gradient.norm()


@pytest.mark.parametrize("size", [1, 3, 100, None])
def test_gradients_are_those_of_each_alone(
    make_three: MakeThree, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    """However many examples go through the U-Net at once, and of whichever concepts they are."""
    step, learners = make_three(micro_batch_size=size)
    wanted = [one_by_one(learner) for learner in learners]
    seen: list[tuple[int, ...]] = []
    predict = step.family.predict
    monkeypatch.setattr(
        step.family, "predict", lambda noisy, *others: (seen.append(tuple(noisy.shape)), predict(noisy, *others))[1]
    )
    losses = step.backward(learners)
    small, large = ([shape[0] for shape in seen if shape[1:] == (4, side, side)] for side in (8, 12))
    assert (small, large) == {
        1: ([1] * 7, [1] * 4),
        3: ([3, 3, 1], [3, 1]),
        100: ([7], [4]),
        None: ([7], [4]),
    }[size]
    assert_gradients(learners, losses, wanted)


def test_two_slots_and_velocity(make_three: MakeThree, tiny_models: dict[str, Path]) -> None:
    step, learners = make_three(model=str(tiny_models["sdxl-v-zero-snr"]), micro_batch_size=3)
    wanted = [one_by_one(learner) for learner in learners]
    assert [len(gradients) for _, gradients in wanted] == [2, 2, 2]
    assert_gradients(learners, step.backward(learners), wanted)


def test_gradients_do_not_add_up_over_steps(make_three: MakeThree) -> None:
    """Whoever shares the step, and whoever has left."""
    step, learners = make_three()
    wanted = [one_by_one(learner) for learner in learners]
    step.backward(learners)
    assert_gradients(learners, step.backward(learners), wanted)
    step.family.placeholders.remove(learners[0].data.owner)
    for some in (learners[1:], learners[:0:-1], learners[2:]):
        losses = step.backward(some)
        assert_gradients(some, losses, [wanted[learners.index(learner)] for learner in some])


def test_the_scale_of_half_precision_is_taken_out_again(make_three: MakeThree, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a power of two: the gradients and losses are the same to the bit."""
    step, learners = make_three()
    losses = step.backward(learners)
    gradients = [rows.grad.clone() for learner in learners for rows in learner.parameters]
    monkeypatch.setitem(
        ti_trainer.training.step.LOSS_SCALE, torch.float32, ti_trainer.training.step.LOSS_SCALE[torch.float16]
    )
    scaled = step.backward(learners)
    assert all(map(torch.equal, scaled, losses))
    again = [rows.grad for learner in learners for rows in learner.parameters]
    assert all(map(torch.equal, again, gradients))


def test_shares_of_processes_add_up(make_three: MakeThree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three processes, one of which has nothing to do for the concept of two examples."""
    step, learners = make_three()
    wanted = [one_by_one(learner) for learner in learners]
    measured = step.fixed_noise_losses(learners)
    monkeypatch.setattr(Processes, "sum", lambda self, *groups: [list(group) for group in groups])
    total = [torch.zeros(()) for _ in learners]
    gradients = [[torch.zeros_like(rows) for rows in learner.parameters] for learner in learners]
    parts = []
    for rank in range(3):
        processes = step.processes.alone()
        processes.rank, processes.count = rank, 3
        own = replace(step, processes=processes)
        total = [sum(both) for both in zip(total, own.backward(learners), strict=True)]
        for learner, sums in zip(learners, gradients, strict=True):
            for rows, each in zip(learner.parameters, sums, strict=True):
                each += rows.grad
        parts.append(own.fixed_noise_losses(learners))
    assert learners[1].parameters[0].grad.count_nonzero() == 0
    for learner, sums in zip(learners, gradients, strict=True):
        for rows, each in zip(learner.parameters, sums, strict=True):
            rows.grad = each
    assert_gradients(learners, total, wanted)
    assert [sum(part) for part in zip(*parts, strict=True)] == pytest.approx(measured, rel=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_neighbour_that_is_no_number_spoils_nothing(make_three: MakeThree, value: float) -> None:
    step, learners = make_three()
    wanted = [one_by_one(learner) for learner in learners]
    for (view,) in learners[1].data.views:
        view.encode().mean[0, 0, 0] = value
    losses = step.backward(learners)
    assert not losses[1].isfinite()
    others = [learners[0], learners[2]]
    assert_gradients(others, [losses[0], losses[2]], [wanted[0], wanted[2]])


@pytest.mark.parametrize("size", [1, 3, 100])
def test_fixed_noise_losses_are_those_of_each_alone(make_three: MakeThree, size: int) -> None:
    """Weighted uniformly whatever is trained, and over each one's own number of samples; nothing is left behind."""
    step, learners = make_three(micro_batch_size=size)
    step.backward(learners)
    before = [(rows.detach().clone(), rows.grad.clone()) for learner in learners for rows in learner.parameters]
    found = step.fixed_noise_losses(learners)
    for learner, loss in zip(learners, found, strict=True):
        count = learner.config.validation_samples
        assert count in (3, 4, 7)
        total = 0.0
        with torch.no_grad():
            for index in range(count):
                total += denoising_losses(step.family, stack_draws([learner.fixed_draw(index)]), uniform).item()
        assert loss == pytest.approx(total / count, rel=1e-5)
    after = [(rows, rows.grad) for learner in learners for rows in learner.parameters]
    assert all(
        torch.equal(*pair) for old, new in zip(before, after, strict=True) for pair in zip(old, new, strict=True)
    )
    assert step.fixed_noise_losses([]) == []


def test_each_example_has_its_concepts_weighting() -> None:
    snr = torch.tensor([0.01, 4.0, 100.0, 100.0])
    mixed = weigh_each(
        [uniform, get_weighting("debiased"), get_weighting("min_snr", 5.0), get_weighting("min_snr", 2.0)]
    )
    torch.testing.assert_close(mixed(snr, "epsilon"), torch.tensor([1, 0.5, 0.05, 0.02]))
    torch.testing.assert_close(mixed(snr, "v_prediction"), torch.tensor([1, 0.4, 5 / 101, 2 / 101]))
    one = get_weighting("min_snr")
    assert weigh_each([one, one]) is one


@pytest.mark.parametrize(
    ("side", "count"), [(8, 1024), (64, 16), (96, 7), (128, 4), (512, 1)], ids=lambda value: str(value)
)
def test_how_many_go_through_the_unet_at_once(make_config: MakeConfig, side: int, count: int) -> None:
    """As many latent positions as 16 pictures of 512 pixels have, or what the user says."""
    assert largest_batch(make_config())((4, side, side)) == count
    assert largest_batch(make_config(micro_batch_size=5))((4, side, side)) == 5


def captioned(folder: Path, captions: dict[str, str], pictures: Path) -> Path:
    """Some of the pictures, with captions of their own."""
    folder.mkdir()
    for name, caption in captions.items():
        (folder / f"{name}.png").write_bytes((pictures / f"{name}.png").read_bytes())
        (folder / f"{name}.txt").write_text(caption)
    return folder


@pytest.fixture
def acquainted(make_config: MakeConfig, pictures: Path, other_pictures: Path, tmp_path: Path) -> list[TrainConfig]:
    """Two concepts that mention each other, and a second cat with the first one's token."""
    of_cat = {"0": "a <my-cat> beside a <my-dog>", "1": "a <my-dog> and the <my-cat>"}
    of_dog = {"0": "the <my-dog> with a <my-cat>", "2": "a <my-dog>"}
    cat = make_config(images=str(captioned(tmp_path / "cat", of_cat, pictures)), num_vectors=2)
    images = str(captioned(tmp_path / "dog", of_dog, other_pictures))
    return [
        cat,
        make_config(token="<my-dog>", images=images, init="dog", num_vectors=3),
        replace(cat, name="other-cat", seed=7, concept=replace(cat.concept, init="red", num_vectors=1)),
    ]


def test_anothers_token_is_plain_text(
    acquainted: list[TrainConfig], model: Path, reference_pipeline: Callable[[Path], Any]
) -> None:
    """To each concept, beside the others as alone: the real pipeline that has only its rows says the same."""
    step, learners = learners_of(acquainted)
    losses = step.backward(learners)
    for config, learner, loss in zip(acquainted, learners, losses, strict=True):
        alone, (single,) = learners_of([config])
        (own_loss,) = alone.backward([single])
        assert_gradients([learner], [loss], [(own_loss, [rows.grad for rows in single.parameters])])

        token, rows = config.concept.token, learner.parameters[0].detach().clone()
        pipeline = reference_pipeline(model)
        pipeline.load_textual_inversion({token: rows}, token=token)
        captions = draw_batch(learner.data, config.seed, 0, range(3), 3).captions
        assert any("<my-cat>" in caption and "<my-dog>" in caption for caption in captions)
        with torch.no_grad():
            found = step.family.encode_text(captions, [learner.data.owner] * 3).context
            wanted, _ = pipeline.encode_prompt(captions, torch.device("cpu"), 1, False)
        torch.testing.assert_close(found, wanted, rtol=2e-6, atol=2e-6)


def test_anothers_rows_change_nothing(acquainted: list[TrainConfig]) -> None:
    """To the bit, though it shares a token, or is mentioned."""
    step, learners = learners_of(acquainted)
    losses = step.backward(learners)
    for number, learner in enumerate(learners):
        with learner.holding({slot: -rows for slot, rows in learner.initial.items()}):
            changed = step.backward(learners)
        assert [torch.equal(*pair) for pair in zip(changed, losses, strict=True)] == [i != number for i in range(3)]


def test_they_learn_together_what_they_learn_alone(acquainted: list[TrainConfig]) -> None:
    configs = [replace(config, steps=6, validate_every=0) for config in acquainted]
    runs = train_all(configs)
    assert [run.folder.name for run in runs] == ["my-cat", "my-dog", "other-cat"]
    for config, run in zip(configs, runs, strict=True):
        alone = train(replace(config, name=f"{config.run_name}-alone"))
        found, wanted = (read_embedding(each.embedding).vectors["clip_l"] for each in (run, alone))
        first = load_file(run.folder / "checkpoints" / "step-000000.safetensors")["rows.clip_l"]
        assert (wanted - first).norm() > 0.1
        assert (found - wanted).norm() < 1e-4 * (wanted - first).norm()
        losses = [[line["loss"] for line in each.history] for each in (run, alone)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_nothing_waits_for_the_device(
    any_model: Path, make_config: MakeConfig, other_pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps on `meta`, where asking for a number is an error, as is meeting a tensor that was left on the CPU."""
    meta = torch.device("meta")
    # the fused one knows no `meta`; both read the gradients alone
    slow = UpdateRule(lambda rows, lr, decay, settings: AdamW(rows, lr=lr, weight_decay=decay))
    monkeypatch.setitem(OPTIMIZERS, "adamw", slow)
    common = {"model": str(any_model), "weighting": "min_snr", "max_grad_norm": 1.0}
    sessions = prepare_all([make_config(**common), make_config(**common, token="<my-dog>", images=str(other_pictures))])
    family = sessions[0].family
    twin = family.shadow(checkpointing=False)
    twin.schedule = family.schedule.to(meta)
    learners = []
    for session in sessions:
        rows = twin.placeholders.add(session.data.token, session.rows, session.data.owner)
        learners.append(Learner(replace(session, family=twin, rows=rows)))
    step = SharedStep(twin, Processes("fp32"), lambda shape: 3)
    for _ in range(2):
        for learner, loss in zip(learners, step.backward(learners), strict=True):
            assert loss.is_meta
            learner.update(loss)
    assert [len(learner.readings) for learner in learners] == [2, 2]
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        learners[0].take_readings()
    twin.denoiser = family.denoiser
    with pytest.raises(RuntimeError):
        step.backward(learners)
