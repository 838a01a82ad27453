"""One concept on its way: how its rows move, what is read of its steps, and how it goes back and on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.learning import learners_of, take_steps
from tests.run_folders import last_checkpoint
from ti_trainer import TrainConfig
from ti_trainer.method.lr_schedules import lr_factor
from ti_trainer.runs.checkpoints import Checkpoint, Unusable
from ti_trainer.runs.folder import RunFolder
from ti_trainer.training.learner import Learner

MakeConfig = Callable[..., TrainConfig]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def move(learner: Learner, seed: int, scale: float = 1.0, loss: float = 1.0) -> None:
    """An update along a gradient that nobody computed."""
    for number, rows in enumerate(learner.parameters):
        rows.grad = randn(*rows.shape, seed=1000 * seed + number) * scale
    learner.update(torch.tensor(loss))


def assert_same(found: Checkpoint, wanted: Checkpoint) -> None:
    assert (found.step, found.info) == (wanted.step, wanted.info)
    assert set(found.tensors) == set(wanted.tensors)
    for name, tensor in wanted.tensors.items():
        assert torch.equal(found.tensors[name], tensor), name


@pytest.fixture
def learner(make_config: MakeConfig) -> Learner:
    return learners_of([make_config(num_vectors=2, steps=40)])[1][0]


@pytest.fixture
def twin(make_config: MakeConfig) -> Learner:
    """Another of the same config."""
    return learners_of([make_config(num_vectors=2, steps=40)])[1][0]


def test_each_concept_is_clipped_and_moved_by_its_own_settings(make_two: Callable[..., list[TrainConfig]]) -> None:
    """The rows after two steps, recomputed with torch's clipping and optimiser on each concept's gradients alone."""
    cat, dog = make_two(steps=9)
    cat = replace(cat, max_grad_norm=0.5, lr=0.1, lr_schedule="linear")
    dog = replace(dog, max_grad_norm=0.0, lr=0.02, warmup_steps=3, weight_decay=0.2)
    _, learners = learners_of([cat, dog])
    for learner, scale in zip(learners, (300.0, 7.0), strict=True):
        config, (rows,) = learner.config, learner.parameters
        simple = torch.nn.Parameter(rows.detach().clone())
        adam = torch.optim.AdamW([simple], weight_decay=config.weight_decay)
        for number in range(2):
            move(learner, number, scale)
            simple.grad = randn(*simple.shape, seed=1000 * number) * scale
            if config.max_grad_norm:
                torch.nn.utils.clip_grad_norm_([simple], config.max_grad_norm)
            lr = config.lr * lr_factor(config.lr_schedule, number, 9, config.warmup_steps)
            adam.param_groups[0]["lr"] = lr
            adam.step()
            torch.testing.assert_close(rows, simple, rtol=1e-6, atol=1e-7)
            assert learner.readings[-1].lr == lr
            torch.testing.assert_close(learner.readings[-1].after["clip_l"], simple.detach(), rtol=1e-6, atol=1e-7)
        assert learner.step == 2


def test_a_checkpoint_brings_everything_back(make_config: MakeConfig, tiny_models: dict[str, Path]) -> None:
    """Through a file, with two slots: the steps after it are the same bits, and so is the best before it."""
    config = make_config(model=str(tiny_models["sdxl-eps"]), lr_schedule="cosine", flip=True)
    step, (learner,) = learners_of([config])
    take_steps(step, [learner], 2)
    learner.keep(2, 0.1 + 0.2)
    best = learner.snapshot()
    take_steps(step, [learner], 1)
    saved = learner.checkpoint()
    assert saved.step == 3
    assert saved.info["best"] == [2, 0.1 + 0.2]
    state = learner.optimizer.state_dict()["state"]
    for number, slot in enumerate(("clip_l", "clip_g")):
        assert torch.equal(saved.tensors[f"rows.{slot}"], learner.rows[slot])
        assert torch.equal(saved.tensors[f"best.{slot}"], best[slot])
        assert not torch.equal(best[slot], learner.rows[slot])
        for name in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(saved.tensors[f"optimizer.{number}.{name}"], state[number][name])
    assert len(saved.tensors) == 10
    folder = RunFolder(config)
    folder.files.checkpoints.mkdir(parents=True)
    folder.checkpoints.save(saved)

    take_steps(step, [learner], 2)
    wanted = learner.checkpoint()
    assert saved.tensors["optimizer.0.step"] == 3  # a copy: nothing has moved in it
    assert not torch.equal(saved.tensors["rows.clip_g"], wanted.tensors["rows.clip_g"])
    step, (other,) = learners_of([config])
    take_steps(step, [other], 1)  # whatever it did before
    other.restore(last_checkpoint(folder))
    assert_same(other.checkpoint(), saved)
    take_steps(step, [other], 2)
    assert_same(other.checkpoint(), wanted)
    other.restore(saved)
    assert all(torch.equal(other.best_rows[slot], best[slot]) for slot in best)
    assert_same(other.checkpoint(), saved)


def broadcast(parts: dict[str, Any]) -> None:
    parts["rows.clip_l"] = parts["rows.clip_l"][:1]


def infinite(parts: dict[str, Any]) -> None:
    parts["best.clip_l"] = parts["best.clip_l"] / 0


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "one row for all": broadcast,
    "a slot is missing": lambda parts: parts.pop("rows.clip_l"),
    "a slot too many": lambda parts: parts.update({"rows.clip_g": torch.ones(2, 32)}),
    "no best rows": lambda parts: parts.pop("best.clip_l"),
    "rows that are no numbers": infinite,
    "other precision": lambda parts: parts.update({"rows.clip_l": parts["rows.clip_l"].double()}),
    "no moments": lambda parts: parts.pop("optimizer.0.exp_avg"),
    "a moment too many": lambda parts: parts.update({"optimizer.0.max_exp_avg_sq": torch.ones(2, 32)}),
    "moments of another shape": lambda parts: parts.update({"optimizer.0.exp_avg": torch.ones(32)}),
    "no best step": lambda parts: parts.pop("best"),
    "a best step that is a text": lambda parts: parts.update({"best": ["2", 0.5]}),
    "no settings": lambda parts: parts.update({"optimizer": None}),
    "a setting missing": lambda parts: parts["optimizer"].pop("group0.eps"),
    "a setting that is a text": lambda parts: parts["optimizer"].update({"group0.eps": "small"}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_checkpoint_of_other_parts_changes_nothing(learner: Learner, damage: Callable[..., object]) -> None:
    """Also one whose hash is right: nothing is broadcast, left out or ignored."""
    before = learner.checkpoint()
    move(learner, 1)
    whole = learner.checkpoint()
    learner.go_to(before)
    parts = {**whole.tensors, **{name: copy.deepcopy(value) for name, value in whole.info.items()}}
    damage(parts)
    tensors = {name: part for name, part in parts.items() if isinstance(part, Tensor)}
    info = {name: part for name, part in parts.items() if name not in tensors}
    with pytest.raises(Unusable):
        learner.restore(Checkpoint(1, tensors, info))
    assert_same(learner.checkpoint(), before)
    learner.restore(whole)
    assert_same(learner.checkpoint(), whole)


def test_going_back_to_the_start(learner: Learner, twin: Learner, tmp_path: Path) -> None:
    """The optimiser forgets too; a best loss that is not known yet survives the file."""
    start = learner.checkpoint()
    assert start.info["best"] == [0, float("inf")]
    for number in range(3):
        move(learner, number)
    learner.keep(3, 0.5)
    folder = RunFolder(replace(learner.config, output=str(tmp_path)))
    folder.files.checkpoints.mkdir(parents=True)
    folder.checkpoints.save(start)
    learner.restore(last_checkpoint(folder))
    assert_same(learner.checkpoint(), twin.checkpoint())
    move(learner, 5)
    move(twin, 5)
    assert_same(learner.checkpoint(), twin.checkpoint())


def test_holding_other_rows_for_a_while(learner: Learner) -> None:
    present = learner.snapshot()
    family = learner.session.family
    caption, key = f"a {learner.data.token}", [learner.data.owner]
    text = family.encode_text([caption], key).context
    with learner.holding({slot: torch.zeros_like(rows) for slot, rows in present.items()}):
        assert learner.rows["clip_l"].count_nonzero() == 0
        assert not torch.equal(family.encode_text([caption], key).context, text)
    assert torch.equal(learner.rows["clip_l"], present["clip_l"])
    assert torch.equal(family.encode_text([caption], key).context, text)
    other = {slot: rows + 1 for slot, rows in present.items()}
    with pytest.raises(RuntimeError, match="inside"), learner.holding(other):
        raise RuntimeError("inside")
    assert torch.equal(learner.rows["clip_l"], present["clip_l"])
    assert learner.rows["clip_l"].requires_grad


def test_the_best_rows_are_a_copy(learner: Learner) -> None:
    move(learner, 0)
    learner.keep(1, 0.25)
    kept = learner.snapshot()["clip_l"]
    move(learner, 1)
    assert (learner.best_step, learner.best_loss) == (1, 0.25)
    assert torch.equal(learner.best_rows["clip_l"], kept)
    assert not torch.equal(learner.rows["clip_l"], kept)


NAN, INF = float("nan"), float("inf")

# losses of steps 1, 2, ..., and the first that is not finite; "gradient": the loss is, the gradient is not
BAD: dict[str, tuple[list[float | str], int | None]] = {
    "all are": ([1.0, 2.0, 3.0, 4.0, 5.0], None),
    "the first": ([NAN, 2.0, 3.0, 4.0, 5.0], 1),
    "the second": ([1.0, INF, 3.0, 4.0, 5.0], 2),
    "in the middle, and good ones after it": ([1.0, 2.0, 3.0, NAN, 5.0], 4),
    "two": ([1.0, 2.0, -INF, 4.0, NAN], 3),
    "the last": ([1.0, 2.0, 3.0, 4.0, NAN], 5),
    "a gradient": ([1.0, 2.0, 3.0, "gradient", 5.0], 4),
}


@pytest.mark.parametrize("every", [1, 2, 3, 5])
@pytest.mark.parametrize(("losses", "bad_step"), BAD.values(), ids=BAD.keys())
def test_readings_do_not_depend_on_when_they_are_taken(
    learner: Learner, twin: Learner, losses: list[float | str], bad_step: int | None, every: int
) -> None:
    """The same steps are told, and the rows go back to those whose loss was the last finite one."""
    states = [twin.checkpoint()]  # after 0, 1, ... steps of an undisturbed run
    for number in range(len(losses)):
        move(twin, number)
        states.append(twin.checkpoint())
    told, found = [], None
    for number, loss in enumerate(losses):
        if loss == "gradient":
            (rows,) = learner.parameters
            rows.grad = randn(*rows.shape)
            rows.grad[1, 7] = INF
            learner.update(torch.tensor(1.0))
        else:
            move(learner, number, loss=float(loss))
        if learner.step % every == 0 or learner.step == len(losses):
            readings, found = learner.take_readings()
            assert learner.readings == []
            told += readings
            if found:
                break
    count = len(losses) if bad_step is None else bad_step - 1
    assert [(reading.step, reading.loss.item()) for reading in told] == [
        (number + 1, losses[number]) for number in range(count)
    ]
    for number, reading in enumerate(told):
        assert_same(reading.before, states[number])
        assert torch.equal(reading.after["clip_l"], states[number + 1].tensors["rows.clip_l"])
    if bad_step is None:
        assert found is None
        assert_same(learner.checkpoint(), states[-1])
        assert_same(learner.good, states[-2])
    else:
        assert found is not None
        assert found.step == bad_step
        last_good = max(0, bad_step - 2)  # step n tells the loss of the rows of step n - 1
        assert_same(learner.checkpoint(), states[last_good])
        assert_same(learner.good, states[last_good])
    assert learner.take_readings() == ([], None)


# config; step, the last one that brought much -> whether it is done
ENDS = [
    ({"steps": 8}, [(7, 0, False), (8, 0, True), (9, 8, True)]),
    ({"steps": 8, "validate_every": 0, "early_stop": 3}, [(7, 0, False), (8, 0, True)]),
    ({"steps": 40, "validate_every": 5, "early_stop": 2}, [(9, 0, False), (10, 0, True), (10, 5, False)]),
    ({"steps": 40, "validate_every": 5, "early_stop": 2}, [(14, 5, False), (15, 5, True), (39, 35, False)]),
    ({"steps": 40, "validate_every": 5, "early_stop": 2}, [(40, 40, True)]),
    ({"steps": 40, "validate_every": 1, "early_stop": 1}, [(0, 0, False), (1, 0, True), (1, 1, False)]),
]


@pytest.mark.parametrize(("changes", "cases"), ENDS)
def test_when_it_is_done(learner: Learner, changes: dict[str, int], cases: list[tuple[int, int, bool]]) -> None:
    learner.config = replace(learner.config, **changes)
    for learner.step, learner.progress.step, done in cases:
        assert learner.is_done is done


@pytest.mark.parametrize(
    ("validate_every", "steps", "wanted"),
    [(0, 9, []), (1, 4, [1, 2, 3, 4]), (4, 9, [4, 8, 9]), (4, 8, [4, 8]), (20, 9, [9])],
)
def test_when_it_is_measured(learner: Learner, validate_every: int, steps: int, wanted: list[int]) -> None:
    learner.config = replace(learner.config, validate_every=validate_every, steps=steps)
    measured = []
    for learner.step in range(1, steps + 1):
        measured += [learner.step] * learner.is_measured_now
    assert measured == wanted
