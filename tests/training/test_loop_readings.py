"""What a run does when it reads its losses: measuring, stopping early, and what had waited for the first step."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import ti_trainer.training.loop
from tests.learning import learners_of
from ti_trainer import Run, TrainConfig, train, train_all
from ti_trainer.data.batches import draw_example, stack_draws
from ti_trainer.data.latents import LatentPosterior
from ti_trainer.embedding_files import read_embedding
from ti_trainer.errors import Diverged, Interrupted
from ti_trainer.families.latent_diffusion import LatentDiffusion
from ti_trainer.method.weightings import uniform
from ti_trainer.runs.folder import RunFolder
from ti_trainer.training.learner import Learner
from ti_trainer.training.objective import denoising_losses
from ti_trainer.training.prepare import Session
from ti_trainer.training.step import SharedStep
from ti_trainer.training.validation import fixed_draw

MakeConfig = Callable[..., TrainConfig]


def history_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the seconds."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


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


def losses_measured(run: Run) -> dict[int, float]:
    return {line["step"]: line["validation_loss"] for line in run.history if "validation_loss" in line}


@pytest.fixture
def quick(make_config: MakeConfig) -> MakeConfig:
    """Without pictures at the end."""

    def make(**changes: Any) -> TrainConfig:
        return make_config(**{"plots": False, "batch_size": 1, "validation_samples": 2, **changes})

    return make


@pytest.fixture
def learned(make_config: MakeConfig, tmp_path: Path) -> Path:
    """The file of rows that a step of a high learning rate only makes worse."""
    config = make_config(steps=20, lr=0.02, validation_samples=8, plots=False, output=str(tmp_path / "learned"))
    return Path(train(config).embedding)


def interrupting(step: int) -> Callable[[dict[str, Any]], None]:
    """A callback as if somebody pressed Ctrl-C after a step was told."""

    def callback(line: dict[str, Any]) -> None:
        if line["step"] == step:
            signal.raise_signal(signal.SIGINT)

    return callback


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
    original = ti_trainer.training.loop.prepare

    def prepare(*arguments: Any) -> Session:
        session = original(*arguments)
        session.data.views[number][0].encode().mean[0, 0, 0] = float("nan")
        return session

    monkeypatch.setattr(ti_trainer.training.loop, "prepare", prepare)
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
        assert RunFolder(run).steps_saved() == [0, bad_step - 2]
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
    assert RunFolder(config).finished()["step"] == 6


@pytest.fixture
def thrown(quick: MakeConfig) -> MakeConfig:
    """Rows that get better until they are thrown far away at step 10."""

    def make(**changes: Any) -> TrainConfig:
        how = {"lr": 0.02, "lr_schedule": "piecewise:10=1000", "validate_every": 2, "validation_samples": 8}
        return quick(**{"steps": 24, "batch_size": 3, **how, **changes})

    return make


def test_it_stops_after_the_best_and_not_before(thrown: MakeConfig) -> None:
    """Better ones start the count anew. The run is the beginning of the undisturbed one, and its file the same."""
    whole = train(thrown(name="whole"))
    losses = losses_measured(whole)
    best = min(losses, key=losses.__getitem__)
    assert 6 < best < 14
    for early_stop in (1, 3):
        run = train(thrown(name=f"stop-{early_stop}", early_stop=early_stop))
        worse, end, least = 0, 0, float("inf")
        for step, loss in losses.items():
            worse = 0 if loss < least else worse + 1
            least, end = min(least, loss), step
            if worse == early_stop:
                break
        assert [line["step"] for line in run.history] == list(range(1, end + 1))
        assert history_of(Path(run.folder)) == history_of(Path(whole.folder))[:end]
        assert run.best_step == min((step for step in losses if step <= end), key=losses.__getitem__)
        if run.best_step == best:
            assert Path(run.embedding).read_bytes() == Path(whole.embedding).read_bytes()
    assert run.best_step == best  # three in a row are worse only after it


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
    cat, dog = make_two(steps=14, validate_every=2, validation_samples=8, plots=False)
    rows = load_file(learned)["emb_params"]
    dog = replace(
        dog, lr=20.0, early_stop=2, concept=replace(dog.concept, init=f"file:{learned}", num_vectors=len(rows))
    )
    runs = {Path(run.folder).name: run for run in train_all([cat, dog])}
    assert list(runs) == ["my-dog", "my-cat"]  # in the order in which they are finished
    alone = train(replace(cat, name="alone"))
    assert len(runs["my-cat"].history) == 14
    assert runs["my-cat"].best_step == alone.best_step
    found, wanted = (read_embedding(run.embedding).vectors["clip_l"] for run in (runs["my-cat"], alone))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert len(runs["my-dog"].history) < 14
    assert len(runs["my-dog"].history) == runs["my-dog"].best_step + 4


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
        folder.drop_checkpoints_after(resumed_from)
        folder.storage.withdraw("my-cat")
        counts.clear()
        again = train(replace(config, resume=True))
        assert sum(counts) == len([step for step in losses_measured(again) if step > resumed_from]) + (not resumed_from)
        assert again.best_step == first.best_step == 0
        assert folder.load_checkpoint().info["best"] == [0, pytest.approx(wanted, rel=1e-5)]
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
    original = SharedStep.gradients

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

    monkeypatch.setattr(SharedStep, "gradients", gradients)
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
    cat, dog = make_two(steps=2, batch_size=2, micro_batch_size=3, validate_every=0, plots=False)
    loaded: list[tuple[str, int, bool]] = []

    def look(line: dict[str, Any]) -> None:
        if line["step"] == 2:
            loaded.append((line["token"], len(encoded), sessions[0].family._vae is None))

    train_all([cat, dog], callbacks=[look])
    assert sessions[0].family is sessions[1].family
    assert loaded == [("<my-cat>", 4, False), ("<my-dog>", 7, True)]


def test_whoever_waits_is_not_let_in_after_an_interrupt(
    make_two: Callable[..., list[TrainConfig]], sessions: list[Session]
) -> None:
    """It comes with the last step of the one that is being trained: that one is finished, the other not begun."""
    configs = make_two(steps=4, batch_size=2, micro_batch_size=3, plots=False)
    with pytest.raises(Interrupted, match="the same command with --resume"):
        train_all(configs, callbacks=[interrupting(4)])
    assert [session.data.token for session in sessions] == ["<my-cat>"]
    output = Path(configs[0].output)
    assert [path.name for path in (output / "manifest").iterdir()] == ["my-cat.json"]
    assert not (output / "my-dog").exists()
    (run,) = train_all([replace(config, resume=True) for config in configs])
    assert [(line["step"], line["token"]) for line in run.history] == [(step, "<my-dog>") for step in range(1, 5)]
    (alone,) = train_all([replace(configs[1], name="alone")])
    assert torch.equal(*(read_embedding(each.embedding).vectors["clip_l"] for each in (run, alone)))


def test_an_interrupt_in_the_last_step_of_all_comes_too_late(quick: MakeConfig) -> None:
    run = train(quick(steps=3), callbacks=[interrupting(3)])
    assert len(run.history) == 3
    assert Path(run.embedding).exists()
