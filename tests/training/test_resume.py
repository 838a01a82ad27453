"""Runs that are killed, stopped or prolonged end as if nothing had happened."""

from __future__ import annotations

import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from tests.running import on_step
from ti_trainer import BadInput, Run, TrainConfig, train
from ti_trainer.cli import main
from ti_trainer.config.settings import config_from_mapping, configs_to_yaml, read_yaml
from ti_trainer.errors import Interrupted
from ti_trainer.training.events import Event, Measured

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = 40

# pictures also mirrored, random crops, a falling learning rate: whatever a resumed run could get wrong
LONG = {
    "steps": STEPS,
    "batch_size": 2,
    "lr_schedule": "cosine",
    "warmup_steps": 5,
    "flip": True,
    "crop": "random",
    "validate_every": 9,
    "checkpoint_every": 7,
}


@pytest.fixture(scope="module")
def long_run(base_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The undisturbed run."""
    return train(config_from_mapping({**base_settings, **LONG, "output": str(tmp_path_factory.mktemp("undisturbed"))}))


@pytest.fixture
def config_file(make_config: Callable[..., TrainConfig], tmp_path: Path) -> Path:
    """The same settings for another output folder, as YAML."""
    file = tmp_path / "settings.yaml"
    file.write_text(configs_to_yaml([make_config(**LONG)]))
    return file


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`python train.py ...`, gone for good when the block ends."""
    process = subprocess.Popen(
        [sys.executable, "train.py", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        if process.poll() is not None:
            pytest.fail(f"{path.name} never appeared:\n{process.communicate()[1]}")
        time.sleep(0.002)


def assert_same_tensors(folder: Path, undisturbed: Path) -> None:
    """Every tensor of every final file, byte for byte, and the metadata too."""
    last = f"checkpoints/step-{STEPS:06d}.safetensors"
    for name in ("my-cat.safetensors", "diffusers/learned_embeds.safetensors", last):
        found, wanted = load_file(folder / name), load_file(undisturbed / name)
        assert list(found) == list(wanted)
        for key in wanted:
            assert found[key].numpy().tobytes() == wanted[key].numpy().tobytes(), f"{name}: {key}"
        with safe_open(folder / name, "pt") as one, safe_open(undisturbed / name, "pt") as other:
            assert one.metadata() == other.metadata()


def history_of(folder: Path) -> list[str]:
    """metrics.jsonl without the seconds."""
    return [line.partition(', "seconds"')[0] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.long
def test_killed_and_resumed(config_file: Path, tmp_path: Path, long_run: Run) -> None:
    """kill -9 at a random moment, then --resume: the final file is that of the undisturbed run."""
    folder = tmp_path / "runs" / "my-cat"
    victim_step = 7 * random.Random(2024).randrange(1, 6)
    with started("--config", str(config_file)) as process:
        wait_for(folder / "checkpoints" / f"step-{victim_step:06d}.safetensors", process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (folder / "my-cat.safetensors").exists()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "tok')  # a line that the kill cut short

    assert main(["train", "--config", str(config_file), "--resume"]) == 0
    assert_same_tensors(folder, long_run.folder)
    assert history_of(folder) == history_of(long_run.folder)


@pytest.mark.long
def test_terminated_and_continued_by_the_command_it_names(config_file: Path, tmp_path: Path, long_run: Run) -> None:
    folder = tmp_path / "runs" / "my-cat"
    with started("--config", str(config_file)) as process:
        wait_for(folder / "checkpoints" / "step-000007.safetensors", process)
        process.send_signal(signal.SIGTERM)
        errors = process.communicate()[1]
        assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in errors
    assert not (folder / "my-cat.safetensors").exists()

    launcher, *command = shlex.split(errors.splitlines()[-1])
    assert (launcher, command[0]) == ("python", "train.py")
    done = subprocess.run(
        [sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(folder / "my-cat.safetensors") in done.stdout
    assert_same_tensors(folder, long_run.folder)
    assert history_of(folder) == history_of(long_run.folder)


def test_interrupted_by_control_c(
    config_file: Path, tmp_path: Path, long_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGINT to this very process: the step is finished, a checkpoint is written, and the handler of before is back."""
    folder = tmp_path / "runs" / "my-cat"
    before = signal.getsignal(signal.SIGINT)

    def interrupt() -> None:
        while not (folder / "checkpoints" / "step-000014.safetensors").exists():
            time.sleep(0.002)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert main(["train", "--config", str(config_file)]) == 128 + signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    last = max(int(path.stem[5:]) for path in (folder / "checkpoints").iterdir())
    assert 14 <= last < STEPS
    assert f"stopped after step {last} of {STEPS}" in errors

    words = shlex.split(errors.splitlines()[-1])
    assert main(["train", *words[words.index("--config") :]]) == 0
    assert_same_tensors(folder, long_run.folder)


@pytest.fixture
def resumable(finished_run: Run, tmp_path: Path) -> TrainConfig:
    """A copy of the shared run, and the config that resumes it."""
    shutil.copytree(finished_run.folder, tmp_path / "copy" / "my-cat")
    saved = config_from_mapping(read_yaml(str(finished_run.folder / "config.yaml")))
    return replace(saved, output=str(tmp_path / "copy"), resume=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lr": 0.01}, "lr was 0.015 and is 0.01"),
        ({"seed": 7}, "seed was 0 and is 7"),
        ({"batch_size": 4}, "batch_size was 3 and is 4"),
        ({"flip": True}, "flip was False and is True"),
        ({"validate_every": 2}, "validate_every was 4 and is 2"),
    ],
)
def test_other_settings_are_refused(resumable: TrainConfig, change: dict[str, Any], named: str) -> None:
    before = contents(Path(resumable.output))
    with pytest.raises(BadInput, match=named):
        train(replace(resumable, **change))
    assert contents(Path(resumable.output)) == before


def test_another_concept_is_refused(resumable: TrainConfig) -> None:
    other = replace(resumable.concept, init="dog")
    with pytest.raises(BadInput, match="init was cat and is dog"):
        train(replace(resumable, concept=other))


def test_resuming_a_finished_run_does_no_harm(resumable: TrainConfig, finished_run: Run) -> None:
    run = train(resumable)
    files = contents(run.folder)
    assert set(files) == set(contents(finished_run.folder))
    for name, content in contents(finished_run.folder).items():
        if name != "config.yaml" and not name.endswith(("png", "html")):
            assert files[name] == content, name
    assert run.history == finished_run.history
    assert run.best_step == finished_run.best_step


def test_resuming_with_more_steps_goes_on(resumable: TrainConfig, tmp_path: Path) -> None:
    """As if all steps had been asked for at once; and the config in the folder says so, for the next resume."""
    whole = train(replace(resumable, steps=12, resume=False, output=str(tmp_path / "whole")))
    longer = train(replace(resumable, steps=12))
    assert [line["step"] for line in longer.history] == list(range(1, 13))
    assert longer.embedding.read_bytes() == whole.embedding.read_bytes()
    assert read_yaml(str(longer.folder / "config.yaml"))["steps"] == 12


def stop_of(measured: dict[int, float], patience: int) -> int | None:
    """The step after which so many measurements in a row have brought less than a tenth of the whole fall."""
    first = least = measured[0]
    poor = 0
    for step in sorted(measured)[1:]:
        fall = first - measured[step]
        is_good = fall > 0 and least - measured[step] >= fall / 10
        least, poor = (measured[step], 0) if is_good else (least, poor + 1)
        if poor == patience:
            return step
    return None


def test_a_run_that_stopped_early_goes_on_when_asked(make_config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    """Resumed with the same settings it stays as it is; without `early_stop` it becomes the run that never had it."""
    settings: dict[str, Any] = {"lr": 0.3, "steps": 14, "validate_every": 2, "checkpoint_every": 14}
    measured: dict[int, float] = {}

    def hear(event: Event) -> None:
        if isinstance(event, Measured):
            measured[event.step] = event.loss

    whole = train(make_config(**settings, output=str(tmp_path / "whole")), [hear])

    config = make_config(**settings, early_stop=2)
    early = train(config)
    stop = early.history[-1]["step"]
    assert stop == stop_of(measured, patience=2) < 14
    losses = {line["step"]: line["validation_loss"] for line in early.history if "validation_loss" in line}
    assert early.best_step == 0 or losses[early.best_step] == min(losses.values())
    assert [{**line, "seconds": 0} for line in early.history] == [
        {**line, "seconds": 0} for line in whole.history[:stop]
    ]
    again = train(replace(config, resume=True))
    assert (again.history, again.best_step) == (early.history, early.best_step)
    longer = train(replace(config, early_stop=0, resume=True))
    assert longer.best_step == whole.best_step
    assert load_file(longer.embedding)["emb_params"].equal(load_file(whole.embedding)["emb_params"])
    assert history_of(longer.folder) == history_of(whole.folder)


def test_how_often_the_loss_is_read_changes_nothing(resumable: TrainConfig, finished_run: Run, tmp_path: Path) -> None:
    """A run that is read seldom is stopped, where it is read next, and goes on reading even less."""
    config = replace(resumable, resume=False, name="seldom", log_every=5, checkpoint_every=8)

    def stop(line: dict[str, Any]) -> None:
        if line["step"] == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        train(config, [on_step(stop)])
    folder = Path(config.output) / "seldom"
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "step-000000.safetensors",
        "step-000004.safetensors",
    ]
    run = train(replace(config, resume=True, log_every=100))
    assert run.embedding.read_bytes() == finished_run.embedding.read_bytes()
    assert history_of(folder) == history_of(finished_run.folder)


def test_nothing_to_resume(make_config: Callable[..., TrainConfig], finished_run: Run) -> None:
    """The same command is right before the first checkpoint too: it begins."""
    run = train(replace(make_config(), resume=True))
    assert run.embedding.read_bytes() == finished_run.embedding.read_bytes()


def test_overwriting_starts_anew(resumable: TrainConfig, finished_run: Run) -> None:
    old = Path(resumable.output) / "my-cat" / "previews" / "step-000077-1.png"
    old.write_bytes(b"old")
    run = train(replace(resumable, resume=False, overwrite=True, steps=2))
    assert [line["step"] for line in run.history] == [1, 2]
    assert sorted(path.name for path in (run.folder / "checkpoints").iterdir()) == [
        "step-000000.safetensors",
        "step-000002.safetensors",
    ]
    assert not old.exists()
    first = load_file(run.folder / "checkpoints" / "step-000002.safetensors")["rows.clip_l"]
    wanted = load_file(finished_run.folder / "checkpoints" / "step-000002.safetensors")["rows.clip_l"]
    assert first.numpy().tobytes() == wanted.numpy().tobytes()


def test_two_runs_into_one_folder(make_config: Callable[..., TrainConfig]) -> None:
    """The second is refused while the first goes on, and the first is not disturbed."""
    config = make_config(steps=4)
    refused: list[str] = []

    def intrude(record: dict[str, Any]) -> None:
        if record["step"] == 3:
            with pytest.raises(BadInput) as problem:
                train(replace(config, resume=True))
            refused.append(str(problem.value))

    run = train(config, callbacks=[on_step(intrude)])
    assert len(refused) == 1
    assert "another process is training into" in refused[0]
    assert [line["step"] for line in run.history] == [1, 2, 3, 4]
