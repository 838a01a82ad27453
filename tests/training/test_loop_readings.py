"""What a run does when it reads its losses: measuring, stopping early, and what had waited for the first step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import ti_trainer.training.admission
from tests.learning import learners_of
from tests.running import MakeConfig, history_of, interrupting, losses_measured
from ti_trainer import TrainConfig, train, train_all
from ti_trainer.data.batches import draw_example
from ti_trainer.embedding_files import read_embedding
from ti_trainer.errors import Diverged, Interrupted
from ti_trainer.runs.folder import RunFolder
from ti_trainer.runs.resume import finished
from ti_trainer.training.events import Measured
from ti_trainer.training.learner import Learner
from ti_trainer.training.prepare import Session
from ti_trainer.training.validation import fixed_draw


def assert_same_run(found: Path, wanted: Path) -> None:
    """Every tensor and all metadata of every file, and all figures, to the bit."""
    assert history_of(found) == history_of(wanted)
    files, others = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}
        for folder in (found, wanted)
    )
    assert sorted(files) == sorted(others)
    for name, content in others.items():
        assert files[name] == content, name


@pytest.mark.parametrize(
    "changes", [{}, {"validate_every": 0, "checkpoint_every": 100}], ids=["measured", "unmeasured"]
)
def test_seldom_readings_change_nothing(quick: MakeConfig, changes: dict[str, Any]) -> None:
    settings = {"steps": 17, "batch_size": 2, "validate_every": 6, "checkpoint_every": 5, **changes}
    often = train(quick(**settings, log_every=1, name="often"))
    assert len(often.history) == 17
    for every in (7, 100):
        seldom = train(quick(**settings, log_every=every, name=f"every-{every}"))
        assert seldom.best_step == often.best_step
        assert_same_run(Path(seldom.folder), Path(often.folder))


@pytest.mark.parametrize("changes", [{}, {"validate_every": 0}], ids=["measured", "unmeasured"])
def test_a_loss_that_is_no_number_is_read_late(
    quick: MakeConfig, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """Steps after it are as if they had not been: the message, the checkpoints and the files are the same."""
    config = quick(**{"steps": 40, "checkpoint_every": 100, "validate_every": 3, **changes})
    _, (learner,) = learners_of([config])
    shown = [draw_example(learner.data, config.seed, step, 0, 1).view for step in range(40)]
    late = max(learner.data.views, key=lambda views: shown.index(views[0]))[0]  # first shown later than all others
    bad_step = shown.index(late) + 1
    assert 4 <= bad_step < 13
    assert bad_step % 7 > 1  # others come after it before they are read, where nothing else is due
    number = [views[0] for views in learner.data.views].index(late)
    original = ti_trainer.training.admission.prepare

    def prepare(*arguments: Any) -> Session:
        session = original(*arguments)
        session.data.views[number][0].encode().mean[0, 0, 0] = float("nan")
        return session

    monkeypatch.setattr(ti_trainer.training.admission, "prepare", prepare)
    # of the fixed-noise loss only the other pictures are shown, which are numbers
    monkeypatch.setattr(Learner, "fixed_draw", lambda self, index: fixed_draw(self.data, 0, (number + 1) % 4, 2))
    folders, messages = [], []
    for every in (1, 7, 100):
        run = replace(config, name=f"every-{every}", log_every=every)
        with pytest.raises(Diverged) as problem:
            train(run)
        folders.append(Path(config.output) / f"every-{every}")
        messages.append(str(problem.value).replace(f"every-{every}", "NAME"))
        assert [line["step"] for line in history_of(folders[-1])] == list(range(1, bad_step))
        assert RunFolder(run).checkpoints.steps() == [0, bad_step - 2]
    assert len(set(messages)) == 1
    assert f"NaN or infinite at step {bad_step}; the rows of step {bad_step - 2} are saved" in messages[0]
    for folder in folders[1:]:
        assert_same_run(folder, folders[0])


def test_it_stops_where_nothing_gets_better(quick: MakeConfig, learned: Path) -> None:
    """After two measurements that are worse than the first rows; the file has those."""
    config = quick(steps=30, lr=20.0, validate_every=3, validation_samples=8, init=f"file:{learned}", early_stop=2)
    run = train(config)
    assert list(losses_measured(run)) == [3, 6]
    assert len(run.history) == 6
    assert run.best_step == 0
    (rows,) = load_file(learned).values()
    assert torch.equal(read_embedding(run.embedding).vectors["clip_l"], rows)
    assert finished(RunFolder(config))["step"] == 6


@pytest.fixture
def thrown(quick: MakeConfig) -> MakeConfig:
    """Rows that get better until they are thrown far away at step 10."""

    def make(**changes: Any) -> TrainConfig:
        how = {"lr": 0.02, "lr_schedule": "piecewise:10=1000", "validate_every": 2, "validation_samples": 8}
        return quick(**{"steps": 24, "batch_size": 3, **how, **changes})

    return make


def test_it_stops_after_the_best_and_not_before(thrown: MakeConfig) -> None:
    """What brings much starts the count anew. The run is the beginning of the undisturbed one, its file the same."""
    events: list[Any] = []
    whole = train(thrown(name="whole"), callbacks=[events.append])
    first = next(event.loss for event in events if isinstance(event, Measured) and event.step == 0)
    losses = losses_measured(whole)
    best = min(losses, key=losses.__getitem__)
    assert 6 < best < 14
    for early_stop in (1, 3):
        run = train(thrown(name=f"stop-{early_stop}", early_stop=early_stop))
        counted = first
        idle = 0
        for step, loss in losses.items():  # noqa: B007
            brings_much = counted - loss >= 0.1 * (first - loss) > 0
            counted = loss if brings_much else counted
            idle = 0 if brings_much else idle + 1
            if idle == early_stop:
                break
        end = step
        assert [line["step"] for line in run.history] == list(range(1, end + 1))
        assert history_of(Path(run.folder)) == history_of(Path(whole.folder))[:end]
        seen = {0: first, **{step: loss for step, loss in losses.items() if step <= end}}
        assert run.best_step == min(seen, key=seen.__getitem__)
        if run.best_step == best:
            assert Path(run.embedding).read_bytes() == Path(whole.embedding).read_bytes()


def test_resuming_counts_on(thrown: MakeConfig) -> None:
    """Stopped between the best step and the end, and at the end itself: as if undisturbed."""
    undisturbed = train(thrown(name="undisturbed", early_stop=3))
    end = len(undisturbed.history)
    for step in (undisturbed.best_step + 3, end):
        config = thrown(name=f"stopped-{step}", early_stop=3)
        if step < end:
            with pytest.raises(Interrupted):
                train(config, callbacks=[interrupting(step)])
        else:
            train(config)
        again = train(replace(config, resume=True))
        assert again.best_step == undisturbed.best_step
        assert history_of(Path(again.folder)) == history_of(Path(undisturbed.folder))
        assert torch.equal(*(read_embedding(run.embedding).vectors["clip_l"] for run in (again, undisturbed)))
        last = f"checkpoints/step-{end:06d}.safetensors"
        assert (Path(again.folder) / last).read_bytes() == (Path(undisturbed.folder) / last).read_bytes()


def test_each_concept_stops_by_itself(make_two: Callable[..., list[TrainConfig]], learned: Path) -> None:
    """The dog stops early, the cat goes on to its last step."""
    cat, dog = make_two(steps=14, validate_every=2, validation_samples=8)
    rows = load_file(learned)["emb_params"]
    dog = replace(
        dog, lr=20.0, early_stop=2, concept=replace(dog.concept, init=f"file:{learned}", num_vectors=len(rows))
    )
    runs = {Path(run.folder).name: run for run in train_all([cat, dog])}
    assert list(runs) == ["my-cat", "my-dog"]  # in the order of their configs, though the dog ends first
    alone = train(replace(cat, name="alone"))
    assert len(runs["my-cat"].history) == 14
    assert runs["my-cat"].best_step == alone.best_step
    found, wanted = (read_embedding(run.embedding).vectors["clip_l"] for run in (runs["my-cat"], alone))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert len(runs["my-dog"].history) < 14
    assert len(runs["my-dog"].history) == runs["my-dog"].best_step + 4


def test_an_interrupt_in_the_last_step_of_all_comes_too_late(quick: MakeConfig) -> None:
    run = train(quick(steps=3), callbacks=[interrupting(3)])
    assert len(run.history) == 3
    assert Path(run.embedding).exists()
