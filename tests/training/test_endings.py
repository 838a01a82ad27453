"""Runs that end well, and runs that diverge."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import ti_trainer.training.admission
from tests.running import TOKEN, MakeConfig, MakeTwo, checkpoint, exported, on_step
from ti_trainer import Run, TrainConfig, train, train_all
from ti_trainer.data.batches import draw_example
from ti_trainer.embedding_files import read_embedding
from ti_trainer.errors import Diverged, Incomplete
from ti_trainer.runs.folder import RunFolder
from ti_trainer.runs.storage import Storage
from ti_trainer.training.endings import why_diverged
from ti_trainer.training.prepare import Session


def poison(monkeypatch: pytest.MonkeyPatch, token: str, picture: int, value: float) -> None:
    """Put a number that is none into the cached latents of one picture of a concept."""

    def prepare(*arguments: Any) -> Session:
        session = original(*arguments)
        if session.data.token == token:
            session.data.views[picture][0].encode().mean[0, 0, 0] = value
        return session

    original = ti_trainer.training.admission.prepare
    monkeypatch.setattr(ti_trainer.training.admission, "prepare", prepare)


def first_step_that_draws(config: TrainConfig, session: Session, picture: int) -> int:
    """The number of the first step (from 0) whose batch shows a picture."""
    data = session.data
    for step in range(config.steps):
        for index in range(config.batch_size):
            if draw_example(data, config.seed, step, index, config.batch_size).view is data.views[picture][0]:
                return step
    raise AssertionError("no step shows it")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_at_the_last_good_step(
    make_config: MakeConfig, sessions: list[Session], monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """One picture's latents are poisoned; the rows saved are those of an undisturbed run before it was ever shown."""
    config = make_config(steps=40, batch_size=1, checkpoint_every=1, validate_every=0)
    clean = train(replace(config, name="clean", steps=16))
    starts = [first_step_that_draws(config, sessions[0], picture) for picture in range(4)]
    picture = max(range(4), key=starts.__getitem__)
    bad_step = starts[picture]
    assert 2 <= bad_step < 16

    poison(monkeypatch, TOKEN, picture, value)
    with pytest.raises(Diverged, match=rf"at step {bad_step + 1};.*lower lr than 0.015"):
        train(config)
    folder = Path(config.output) / "my-cat"
    good = bad_step - 1  # the last step whose rows gave a loss that is a number
    saved = sorted(int(path.stem[5:]) for path in (folder / "checkpoints").iterdir())
    assert saved == list(range(good + 1))
    wanted = checkpoint(clean.folder, good)["rows.clip_l"]
    for name, tensor in checkpoint(folder, good).items():
        assert tensor.isfinite().all(), name
        assert torch.equal(tensor, checkpoint(clean.folder, good)[name]), name
    for file in ("my-cat.safetensors", "diffusers/learned_embeds.safetensors"):
        (vectors,) = read_embedding(folder / file).vectors.values()
        assert torch.equal(vectors, wanted)
    assert read_embedding(folder / "my-cat.safetensors").metadata["ti_trainer.step"] == str(good)


def test_a_gradient_that_is_no_number_stops_too(
    make_config: MakeConfig, finished_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the sixth step is a number and its gradient is not."""

    def prepare(*arguments: Any) -> Session:
        session = original(*arguments)
        session.rows["clip_l"].register_hook(spoil)
        return session

    def spoil(gradient: Tensor) -> Tensor:
        seen.append(gradient)
        return gradient * float("inf") if len(seen) == 6 else gradient

    seen: list[Tensor] = []
    original = ti_trainer.training.admission.prepare
    monkeypatch.setattr(ti_trainer.training.admission, "prepare", prepare)
    config = make_config()
    with pytest.raises(Diverged, match="at step 6; the rows of step 4 are saved"):
        train(config)
    folder = Path(config.output) / "my-cat"
    for name, tensor in checkpoint(folder, 4).items():
        assert torch.equal(tensor, checkpoint(finished_run.folder, 4)[name]), name
    (vectors,) = read_embedding(folder / "my-cat.safetensors").vectors.values()
    assert vectors.isfinite().all()


def test_rows_that_overflow_are_never_saved(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A learning rate that throws the rows out of float32: the encoder's output, and so the loss, is no number."""
    config = make_config(steps=6, validate_every=1, checkpoint_every=1, lr=1000.0, lr_schedule="piecewise:2=1e30")
    with pytest.raises(Diverged):
        train(config)
    folder = Path(config.output) / "my-cat"
    files = [folder / "my-cat.safetensors", *(folder / "checkpoints").iterdir()]
    assert len(files) >= 2
    for file in files:
        assert all(tensor.isfinite().all() for tensor in load_file(file).values()), file


def test_a_concept_that_diverges_spoils_no_other(make_two: MakeTwo, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one learns what it learns alone; what was learned before is saved of both."""
    cat, dog = make_two(steps=30, batch_size=1, checkpoint_every=1, validate_every=0)
    alone = train(replace(cat, name="alone"))
    poison(monkeypatch, "<my-dog>", 2, float("nan"))
    with pytest.raises(Incomplete, match=r"1 of 2 concepts failed:\n  my-dog: the loss became NaN or infinite at step"):
        train_all([cat, dog])
    output = Path(cat.output)
    for name in ("my-cat", "my-dog"):
        file = output / name / f"{name}.safetensors"
        assert all(rows.isfinite().all() for rows in read_embedding(file).vectors.values())
    assert (output / "my-cat" / "checkpoints" / "step-000030.safetensors").exists()
    assert not (output / "my-dog" / "checkpoints" / "step-000030.safetensors").exists()
    (rows,) = read_embedding(output / "my-cat" / "my-cat.safetensors").vectors.values()
    torch.testing.assert_close(rows, exported(alone), rtol=1e-5, atol=1e-5)
    manifest = Storage(cat.output).manifest()
    assert (list(manifest.published), list(manifest.failed)) == (["alone", "my-cat"], ["my-dog"])
    assert manifest.failed["my-dog"]["code"] == "diverged"


@pytest.mark.parametrize("validate_every", [0, 4])
def test_a_finished_run_is_resumed_without_a_step(make_config: MakeConfig, validate_every: int) -> None:
    """Also one that was killed between its last checkpoint and its file."""
    config = make_config(validate_every=validate_every)
    run = train(config)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.suffix in (".safetensors", ".jsonl")}
    run.embedding.unlink()
    (run.folder.parent / "manifest" / "my-cat.json").unlink()
    again = train(replace(config, resume=True))
    assert {path: path.read_bytes() for path in before} == before
    assert len(list((run.folder / "checkpoints").iterdir())) == 5
    assert (again.history, again.best_step) == (run.history, run.best_step)
    assert (run.folder.parent / "manifest" / "my-cat.json").exists()


def test_the_first_step_blames_the_model(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """No row has moved yet, so the learning rate has no part in it."""
    for picture in range(4):
        poison(monkeypatch, TOKEN, picture, float("nan"))
    begins = "at step 1; the rows of step 0 are saved in .*No row had moved yet"
    with pytest.raises(Diverged, match=f"{begins}.*weights of .* are damaged; take another model") as stop:
        train(make_config())
    assert " lr" not in str(stop.value)


def test_half_precision_may_be_too_coarse(make_config: MakeConfig) -> None:
    config = make_config()
    family = SimpleNamespace(dtype=torch.float16)
    learner = SimpleNamespace(step=0, config=config, session=SimpleNamespace(family=family))
    seat: Any = SimpleNamespace(learner=learner, folder=RunFolder(config))
    assert 'float16 is too coarse for model="' in why_diverged(seat, 1)
    assert 'start again with precision="fp32" and overwrite=True' in why_diverged(seat, 1)
    assert "lower lr" in why_diverged(seat, 2)


def test_a_folder_that_is_removed_while_it_is_trained(make_two: MakeTwo) -> None:
    """The other concept is learned all the same."""
    configs = make_two(steps=6, checkpoint_every=100)

    def remove(line: Any) -> None:
        if line["token"] == "<my-dog>" and line["step"] == 3:
            shutil.rmtree(Path(configs[1].output) / "my-dog")

    with pytest.raises(Incomplete, match=r"1 of 2 .*\n  my-dog: .*my-dog was removed or moved away"):
        train_all(configs, [on_step(remove)])
    manifest = Storage(configs[0].output).manifest()
    assert (list(manifest.published), list(manifest.failed)) == (["my-cat"], ["my-dog"])
    assert manifest.failed["my-dog"]["code"] == "unavailable"
    assert not (Path(configs[1].output) / "my-dog").exists()
