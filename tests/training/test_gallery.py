"""Pictures on the way: what they show, what they may cost, and that learning knows nothing of them."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.running import TOKEN, MakeConfig, checkpoint, interrupting
from ti_trainer import Concept, Interrupted, ModelConfig, Run, train
from ti_trainer.embedding_files import read_embedding
from ti_trainer.families import load_family
from ti_trainer.reports.grids import grid
from ti_trainer.reports.previews import Drawing, generate
from ti_trainer.reports.references import find_references, show_references
from ti_trainer.training import gallery
from ti_trainer.training.console import Silence
from ti_trainer.training.gallery import SHARE, SIDE, Budget

PROMPTS = ("a {token}", "a {token} at sea")


class Watching(Silence):
    """Keeps what is drawn, and how far it came."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, int, int]] = []  # what, denoising steps done, denoising steps in all
        self.notes: list[str] = []

    @contextmanager
    def drawing(self, what: str, work: int) -> Iterator[Any]:
        done: list[int] = []
        yield done.append
        self.drawn.append((what, sum(done), work))

    def note(self, warning: str) -> None:
        self.notes.append(warning)

    @property
    def steps(self) -> list[int]:
        return [int(what.rpartition(" ")[2]) for what, _, _ in self.drawn]


def array(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_what_may_be_spent() -> None:
    budget = Budget(time.perf_counter() - 100)
    assert not budget.allows(1)  # nobody knows what it takes
    budget.note(1.0, 10, on_the_way=False)
    assert budget.allows(100)  # 10 s of 110
    assert not budget.allows(120)  # 12 of 112
    budget.note(2.0, 20, on_the_way=True)
    assert budget.spent == 2.0
    assert not budget.allows(100)
    assert budget.allows(80)
    assert SHARE == 0.1


def test_pictures_of_steps_are_those_of_their_rows(
    make_config: MakeConfig, model: Path, pictures: Path, finished_run: Run
) -> None:
    """Each as a file that says what it is, and all on a sheet beside the concept's own; the run learns the same."""
    console = Watching()
    config = make_config(prompts=PROMPTS, plots=True, preview_every=4, preview_steps=2, seed=0)
    run = train(config, console=console)
    assert Path(run.embedding).read_bytes() == Path(finished_run.embedding).read_bytes()
    folder = Path(run.folder)
    steps = sorted({0, 4, run.best_step})
    assert console.drawn == [(f"drawing {TOKEN} at step {step}", 4, 4) for step in steps]
    texts = [prompt.format(token=TOKEN) for prompt in PROMPTS]
    rows: list[Any] = []
    references = show_references(find_references(Concept(TOKEN, str(pictures))), "white", SIDE, 9)
    for number, step in enumerate(steps):
        family = load_family(ModelConfig(model=str(model)), torch.device("cpu"), torch.float32)
        family.placeholders.add(TOKEN, {"clip_l": checkpoint(folder, step)["rows.clip_l"]})
        drawn = generate(family, texts, seed=0, steps=2, guidance=5.0)
        for column, image in enumerate(drawn):
            file = folder / "previews" / f"step-{step:06d}-{column + 1}.png"
            assert (array(file) == np.asarray(image)).all()
            with Image.open(file) as saved:
                saved.load()
                assert (saved.info["step"], saved.info["prompt"], saved.info["seed"]) == (str(step), texts[column], "0")
        title = f"step {step}" + "\nsaved" * (step == run.best_step)
        rows.append((title, [references[number], *drawn]))
    sheet = grid(rows, ["your pictures", *texts], header=f"{TOKEN} on {model.name}")
    assert (array(folder / "previews.png") == np.asarray(sheet)).all()

    with Image.open(folder / "my-cat.preview.png") as beside:  # which WebUIs show
        assert beside.size == (384, 384)
        shown = array(folder / "previews" / f"step-{run.best_step:06d}-1.png")
        assert (np.asarray(beside.resize((32, 32), Image.Resampling.NEAREST)) == shown).all()

    again = Watching()
    train(replace(config, resume=True), console=again)
    assert again.drawn == []  # all are there
    train(replace(config, resume=True, prompts=("a red {token}",)), console=again)
    assert again.steps == sorted({0, run.best_step})


@pytest.mark.parametrize(("share", "steps"), [(0.0, [0]), (1e9, [0, 1, 2, 3, 4, 5])])
def test_by_itself_it_draws_what_there_is_time_for(
    share: float, steps: list[int], make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last rows come too, at the end, where they are not those of a step that was drawn."""
    monkeypatch.setattr(gallery, "SHARE", share)
    console = Watching()
    own = {"steps": 6, "prompts": ["a {token}"], "num_vectors": 1, "batch_size": 1}
    run = train(make_config(**own, plots=True, preview_every=None), console=console)
    assert console.steps[: len(steps)] == steps
    assert set(console.steps) == {*steps, run.best_step}
    assert len(set(console.steps)) == len(console.steps)
    none = Watching()
    train(make_config(steps=1, name="none", plots=False, preview_every=None), console=none)
    assert none.drawn == []


def test_too_little_memory_to_draw_stops_nothing(
    make_config: MakeConfig, finished_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Drawing, "pictures", fail)
    console = Watching()
    run = train(make_config(plots=True), console=console)
    assert Path(run.embedding).read_bytes() == Path(finished_run.embedding).read_bytes()
    (note,) = [note for note in console.notes if "memory" in note]
    assert "too little memory to draw previews of 32 x 32 pixels" in note
    assert not (Path(run.folder) / "previews").exists()
    assert not (Path(run.folder) / "before_after.png").exists()
    assert (Path(run.folder) / "loss.png").exists()


def test_a_signal_ends_a_drawing_at_once(make_config: MakeConfig, finished_run: Run) -> None:
    """Nothing of the picture is left, the step is saved, and the run that goes on learns the same."""

    class Impatient(Watching):
        @contextmanager
        def drawing(self, what: str, work: int) -> Iterator[Any]:
            yield lambda count: signal.raise_signal(signal.SIGINT) if what.endswith("4") else None

    config = make_config(plots=True, preview_every=4, preview_steps=3, prompts=["a {token}"])
    with pytest.raises(Interrupted, match="stopped after step 4 of 8"):
        train(config, console=Impatient())
    folder = Path(config.output) / "my-cat"
    assert [path.name for path in (folder / "previews").iterdir()] == ["step-000000-1.png"]
    assert not list(folder.rglob("*.part"))
    run = train(replace(config, resume=True))
    assert Path(run.embedding).read_bytes() == Path(finished_run.embedding).read_bytes()


def test_pictures_of_later_steps_go_when_a_run_goes_on_before_them(make_config: MakeConfig) -> None:
    """A run that is killed between a picture and its checkpoint draws it again."""
    config = make_config(steps=6, preview_every=1, checkpoint_every=3, prompts=["a {token}"], batch_size=1, plots=True)
    with pytest.raises(Interrupted):
        train(config, [interrupting(3)])
    folder = Path(config.output) / "my-cat"
    (folder / "checkpoints" / "step-000003.safetensors").unlink()
    console = Watching()
    run = train(replace(config, resume=True), console=console)
    assert console.steps[:3] == [1, 2, 3]  # the first rows have their picture still
    assert array(folder / "previews.png").shape[0] > 6 * 160
    assert read_embedding(run.embedding).token == TOKEN
