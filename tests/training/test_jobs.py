"""Many concepts trained together: each learns what it learns alone, and the bad ones stop nobody."""

from __future__ import annotations

import csv
import gc
import json
import re
import shutil
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
import yaml
from filelock import FileLock
from fsspec.implementations.memory import MemoryFileSystem
from safetensors import safe_open
from safetensors.torch import load_file

import ti_trainer.training.admission
import ti_trainer.training.prepare
import ti_trainer.training.shared_model
from tests.running import on_step
from ti_trainer import BadInput, Concept, Run, TrainConfig, train, train_all
from ti_trainer.cli import main
from ti_trainer.config.settings import (
    config_from_mapping,
    configs_from_mapping,
    configs_to_yaml,
    read_yaml,
)
from ti_trainer.data.batches import draw_example
from ti_trainer.embedding_files import read_embedding
from ti_trainer.errors import Incomplete, Interrupted
from ti_trainer.runs.storage import Storage
from ti_trainer.training.prepare import Session

MakeConfig = Callable[..., TrainConfig]


def medley(settings: dict[str, Any], other_pictures: Path) -> list[TrainConfig]:
    """Concepts that differ in everything in which concepts may differ, of which two have the same token."""
    dog = {"token": "<my-dog>", "images": str(other_pictures), "init": "random"}
    own: list[dict[str, Any]] = [
        {"num_vectors": 2, "lr": 0.02, "log_every": 1},
        {**dog, "steps": 5, "batch_size": 2, "weighting": "min_snr", "timesteps": "late", "seed": 3},
        {"token": "cat", "init": "auto", "tune": True, "steps": 6, "batch_size": 4, "timesteps": "range:0.5-1"},
        {"name": "restless", "lr": 0.3, "steps": 50, "validate_every": 2, "early_stop": 2, "batch_size": 1, "seed": 4},
        {
            **{"token": "<wide>", "init": "a red cat", "num_vectors": 4, "buckets": True, "flip": True, "steps": 7},
            **{"validate_every": 0, "weight_decay": 0.01, "lr_schedule": "cosine", "warmup_steps": 2},
            **{"crop": "random", "crops": 2, "max_grad_norm": 0.01, "weighting": "debiased"},
        },
    ]
    return [config_from_mapping({**settings, **changes}) for changes in own]


@pytest.fixture(scope="module")
def configs(base_settings: dict[str, Any], other_pictures: Path) -> list[TrainConfig]:
    return medley({**base_settings, "log_every": 1}, other_pictures)


@pytest.fixture(scope="module")
def alone(configs: list[TrainConfig], tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """The run of each by itself."""
    output = str(tmp_path_factory.mktemp("alone"))
    return [train(replace(config, output=output)) for config in configs]


def checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").iterdir())


def assert_same_run(folder: Path, wanted: Path, tolerance: float = 1e-4) -> None:
    """Every tensor of the exported files and of the last checkpoint, and every line of metrics.jsonl but the seconds.

    tolerance: of rows about 1 in size; Adam makes much of the rounding of gradients that are almost none.
    """
    assert [path.name for path in checkpoints(folder)] == [path.name for path in checkpoints(wanted)]
    exported = [path.name for path in wanted.glob("*.safetensors")]
    assert len(exported) == 1
    last = f"checkpoints/{checkpoints(wanted)[-1].name}"
    for name in (*exported, "diffusers/learned_embeds.safetensors", last):
        found, reference = load_file(folder / name), load_file(wanted / name)
        assert found.keys() == reference.keys()
        for key, tensor in reference.items():
            worst = (found[key] - tensor).abs().max().item()
            assert worst <= tolerance, f"{folder.name}/{name}: {key}"
    with safe_open(folder / exported[0], "pt") as one, safe_open(wanted / exported[0], "pt") as other:
        metadata = [{**file.metadata(), "modelspec.hash_sha256": None} for file in (one, other)]  # of the tensors
        assert metadata[0] == metadata[1]
    lines, references = history(folder), history(wanted)
    assert len(lines) == len(references)
    for line, reference in zip(lines, references, strict=True):
        assert line.keys() == reference.keys()
        for key in line.keys() - {"seconds"}:
            exact = key in ("step", "token", "lr")
            assert line[key] == (reference[key] if exact else pytest.approx(reference[key], rel=1e-4, abs=1e-6)), key


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def manifest(output: str | Path) -> dict[str, dict[str, Any]]:
    """The entries of what is learned, read without the package; each must be one line."""
    files, _ = fsspec.core.url_to_fs(f"{output}/manifest")
    entries = {}
    for path in files.glob(f"{output}/manifest/*.json"):
        (line,) = files.cat_file(path).decode().splitlines()
        entries[Path(path).stem] = json.loads(line)
    return {name: entry for name, entry in entries.items() if entry["status"] == "finished"}


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Contents and time of every file but locks."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("micro_batch_size", [None, 5, 2])
def test_together_they_learn_what_each_learns_alone(
    configs: list[TrainConfig],
    alone: list[Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    micro_batch_size: int | None,
) -> None:
    """All at once; two or three at once; and one by one, with parts of their batches."""
    loaded: list[Any] = []
    original = ti_trainer.training.prepare.load_family

    def load_family(*arguments: Any) -> Any:
        loaded.append(original(*arguments))
        return loaded[-1]

    monkeypatch.setattr(ti_trainer.training.prepare, "load_family", load_family)
    lines: list[dict[str, Any]] = []
    together = [replace(config, output=str(tmp_path), micro_batch_size=micro_batch_size) for config in configs]
    runs = train_all(together, [on_step(lines.append)])

    assert len(loaded) == 1
    assert not loaded[0].placeholders.present
    assert {run.folder.name for run in runs} == {"my-cat", "my-dog", "cat-tuned", "restless", "wide"}
    by_name = {Path(run.folder).name: run for run in runs}
    for single in alone:
        name = Path(single.folder).name
        assert_same_run(tmp_path / name, Path(single.folder))
        assert by_name[name].best_step == single.best_step
        assert by_name[name].history == history(tmp_path / name)
    restless = by_name["restless"]  # two measurements, of two steps each, after its best one
    assert len(restless.history) == restless.best_step + 4 < 50
    assert len(lines) == sum(len(run.history) for run in alone)
    tokens = [line["token"] for line in lines]
    came_in = [tokens.index(token) for token in ("<my-dog>", "cat", "<wide>")]
    last = 8 + 5 + 6 + len(restless.history)
    assert came_in == {None: [1, 2, 4], 5: [1, 8 + 5, last], 2: [8, 8 + 5, last]}[micro_batch_size]


def test_a_list_of_one_is_a_run(make_config: MakeConfig, finished_run: Run) -> None:
    (run,) = train_all([make_config()])
    assert Path(run.embedding).read_bytes() == Path(finished_run.embedding).read_bytes()
    assert manifest(Path(run.folder).parent).keys() == {"my-cat"}


def test_runs_come_in_the_order_of_their_configs(make_two: Callable[..., list[TrainConfig]]) -> None:
    """The second ends first."""
    cat, dog = make_two(steps=3)
    configs = [cat, replace(dog, steps=1)]
    assert [run.token for run in train_all(configs)] == [config.concept.token for config in configs]


def test_a_bad_first_one(make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out when the model is there already; the others use that."""
    loaded: list[TrainConfig] = []
    original = ti_trainer.training.prepare.load_family

    def load_family(config: TrainConfig, *where: Any) -> Any:
        loaded.append(config)
        return original(config, *where)

    monkeypatch.setattr(ti_trainer.training.prepare, "load_family", load_family)
    bad = make_config(token="<bad>", resolution=63)
    with pytest.raises(Incomplete, match="bad: resolution is 63"):
        train_all([bad, make_config()])
    assert loaded == [bad]
    assert manifest(tmp_path / "runs").keys() == {"my-cat"}


def test_two_bad_ones_among_good_ones(
    make_config: MakeConfig, pictures: Path, other_pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One has no pictures, and one becomes infinite in the middle of the others' batches."""
    output, missing = tmp_path / "runs", tmp_path / "later"
    wild = {"token": "<wild>", "lr": 1000.0, "lr_schedule": "piecewise:2=1e30"}
    configs = [
        make_config(),
        make_config(token="<gone>", images=str(missing)),
        make_config(**wild, validate_every=1),
        make_config(token="<my-dog>", images=str(other_pictures), init="dog"),
    ]
    with pytest.raises(Incomplete) as problem:
        train_all(configs)
    head, *reasons = str(problem.value).splitlines()
    assert head == "2 of 4 concepts failed:"
    assert sorted(reason.split()[0] for reason in reasons) == ["gone:", "wild:"]
    assert f'images="{missing}" does not exist' in str(problem.value)
    assert "NaN or infinite" in str(problem.value)
    assert manifest(output).keys() == {"my-cat", "my-dog"}
    assert sorted(path.name for path in output.iterdir()) == ["manifest", "my-cat", "my-dog", "wild"]
    assert all(rows.isfinite().all() for rows in read_embedding(output / "wild" / "wild.safetensors").vectors.values())
    for config in (configs[0], configs[3]):
        single = train(replace(config, output=str(tmp_path / "alone")))
        assert_same_run(output / config.run_name, Path(single.folder))

    # by the command, what is finished is left alone, and what is mended is done
    file = tmp_path / "job.yaml"
    file.write_text(configs_to_yaml(configs))
    before = {name: snapshot(output / name) for name in ("my-cat", "my-dog")}
    (missing / "nested").parent.mkdir()
    for picture in pictures.iterdir():
        (missing / picture.name).write_bytes(picture.read_bytes())
    capsys.readouterr()
    assert main(["train", "--config", str(file), "--resume", "--retry_failed"]) == 1
    errors = capsys.readouterr().err
    assert "error: 1 of 4 concepts failed:\n  wild: the loss became NaN or infinite" in errors
    assert "Traceback" not in errors
    assert manifest(output).keys() == {"my-cat", "my-dog", "gone"}
    assert {name: snapshot(output / name) for name in before} == before


def test_all_of_them_bad(make_config: MakeConfig, tmp_path: Path) -> None:
    """Of their folders none stays behind, and the model is not even loaded."""
    configs = [make_config(token=f"<{name}>", images=str(tmp_path / name)) for name in ("one", "two")]
    with pytest.raises(Incomplete, match="2 of 2 concepts failed"):
        train_all(configs)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["runs/manifest/one.json", "runs/manifest/two.json"]  # which say why
    assert not any((tmp_path / "runs" / name).exists() for name in ("one", "two"))


@pytest.mark.parametrize(("change", "named"), [({"model": "elsewhere"}, "model is"), ({"precision": "bf16"}, "'bf16'")])
def test_lists_that_cannot_be_trained_together(
    make_config: MakeConfig, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadInput, match=named):
        train_all([make_config(), make_config(token="<my-dog>", **change)])
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def three(make_config: MakeConfig, other_pictures: Path) -> list[TrainConfig]:
    """The first is done when the second is not; the third waits, because its batch needs all the room."""
    common = {"micro_batch_size": 6}
    return [
        make_config(steps=4, **common),
        make_config(token="<my-dog>", images=str(other_pictures), init="dog", steps=9, **common),
        make_config(token="<late>", steps=4, batch_size=6, **common),
    ]


def test_a_job_that_was_stopped_goes_on(three: list[TrainConfig], tmp_path: Path) -> None:
    output = tmp_path / "runs"
    alone = [train(replace(config, output=str(tmp_path / "alone"))) for config in three]

    def stop(line: dict[str, Any]) -> None:
        if (line["token"], line["step"]) == ("<my-dog>", 7):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="the same again with resume=True") as interrupt:
        train_all(three, [on_step(stop)])
    assert interrupt.value.signal_number == signal.SIGTERM
    assert manifest(output).keys() == {"my-cat"}
    assert sorted(path.name for path in output.iterdir()) == ["manifest", "my-cat", "my-dog"]
    stopped_at = int(checkpoints(output / "my-dog")[-1].stem[5:])
    assert 7 <= stopped_at < 9

    before = snapshot(output)
    with pytest.raises(Incomplete, match="my-cat holds a run; add resume=True to go on, overwrite=True to delete it"):
        train_all(three[:2])
    assert snapshot(output) == before

    seen: list[tuple[str, int]] = []
    again = [replace(config, resume=True) for config in three]
    runs = train_all(again, [on_step(lambda line: seen.append((line["token"], line["step"])))])
    assert sorted(Path(run.folder).name for run in runs) == ["late", "my-dog"]
    assert [step for token, step in seen if token == "<my-dog>"] == list(range(stopped_at + 1, 10))
    assert [step for token, step in seen if token == "<late>"] == [1, 2, 3, 4]
    assert snapshot(output / "my-cat") == {
        name.removeprefix("my-cat/"): file for name, file in before.items() if name.startswith("my-cat/")
    }
    assert manifest(output).keys() == {"my-cat", "my-dog", "late"}
    (output / "my-dog" / "checkpoints" / f"step-{stopped_at:06d}.safetensors").unlink(missing_ok=stopped_at == 8)
    if stopped_at == 8:  # a checkpoint was due there anyway
        (Path(alone[1].folder) / "checkpoints" / "step-000008.safetensors").unlink()
    for single in alone:
        assert_same_run(output / Path(single.folder).name, Path(single.folder))

    before = snapshot(output)
    assert train_all(again) == []
    assert snapshot(output) == before

    anew = train_all([replace(config, overwrite=True) for config in three])
    assert sorted(Path(run.folder).name for run in anew) == ["late", "my-cat", "my-dog"]
    for single in alone[::2]:
        assert_same_run(output / Path(single.folder).name, Path(single.folder))
    after = snapshot(output)
    assert all(after[name][1] > time for name, (_, time) in before.items() if name in after)


def test_more_steps_are_done_where_they_are_missing(three: list[TrainConfig], tmp_path: Path) -> None:
    output = tmp_path / "runs"
    train_all(three[:2])
    before = snapshot(output / "my-dog")
    (run,) = train_all([replace(three[0], steps=6, resume=True), replace(three[1], resume=True)])
    assert [line["step"] for line in run.history] == [1, 2, 3, 4, 5, 6]
    assert manifest(output)["my-cat"]["step"] == 6
    assert snapshot(output / "my-dog") == before
    whole = train(replace(three[0], steps=6, output=str(tmp_path / "alone")))
    for key, rows in read_embedding(Path(whole.embedding)).vectors.items():
        torch.testing.assert_close(read_embedding(Path(run.embedding)).vectors[key], rows, rtol=1e-5, atol=1e-5)


def test_killed_between_its_last_step_and_its_publishing(three: list[TrainConfig], tmp_path: Path) -> None:
    """All is there but the line of the manifest: no step is done again, and the files become what they were."""
    output = tmp_path / "runs"
    train_all(three[:2])
    before = snapshot(output)
    (output / "manifest" / "my-dog.json").unlink()
    (output / "my-dog" / "my-dog.safetensors").unlink()
    seen: list[Any] = []
    (run,) = train_all([replace(config, resume=True) for config in three[:2]], [on_step(seen.append)])
    assert seen == []
    assert run.history == history(output / "my-dog")
    assert {name: content for name, (content, _) in snapshot(output).items()} == {
        name: content for name, (content, _) in before.items()
    }


def test_what_somebody_else_is_at_work_on_is_left_to_them(three: list[TrainConfig], tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "my-dog"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        (run,) = train_all(three[:2])
        assert Path(run.folder).name == "my-cat"
        assert [path.name for path in folder.iterdir()] == [".lock"]
    assert manifest(tmp_path / "runs").keys() == {"my-cat"}


@pytest.fixture(scope="module")
def pair(base_settings: dict[str, Any], other_pictures: Path) -> list[TrainConfig]:
    dog = {"token": "<my-dog>", "images": str(other_pictures), "init": "dog", "steps": 3}
    return [
        config_from_mapping({**base_settings, "plots": True, **changes})
        for changes in ({"steps": 4, "preview_every": 2}, dog)
    ]


@pytest.fixture(scope="module")
def local_job(pair: list[TrainConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of two concepts."""
    output = tmp_path_factory.mktemp("local")
    train_all([replace(config, output=str(output)) for config in pair])
    return output


@pytest.fixture
def _empty_memory() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.mark.usefixtures("_empty_memory")
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_output_behind_a_url(
    kind: str, pair: list[TrainConfig], local_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there is what lies in a local output, less checkpoints and locks."""
    output = {"memory": "memory://bucket/my runs", "file": f"file://{tmp_path}/far/runs"}[kind]
    temporary = tmp_path / "temporary"
    monkeypatch.setenv("XDG_CACHE_HOME", str(temporary))
    remote = [replace(config, output=output) for config in pair]
    runs = train_all(remote)
    assert {run.folder for run in runs} == {f"{output}/my-cat", f"{output}/my-dog"}
    assert {run.embedding for run in runs} == {f"{output}/{name}/{name}.safetensors" for name in ("my-cat", "my-dog")}
    assert [path for path in temporary.rglob("*") if path.is_file() or path.name in ("my-cat", "my-dog")] == []

    def contents() -> dict[str, bytes]:
        files, root = fsspec.core.url_to_fs(output)
        return {str(path).removeprefix(root + "/"): files.cat_file(path) for path in files.find(root)}

    found = contents()
    wanted = {name: content for name, (content, _) in snapshot(local_job).items() if "/checkpoints/" not in name}
    assert found.keys() == wanted.keys()
    assert {
        "my-cat/previews/step-000002-1.png",
        "my-cat/report.html",
        "index.html",
        "my-cat/before_after.png",
        "my-dog/loss.png",
    } <= found.keys()
    for name, content in wanted.items():
        if name.endswith((".yaml", ".json")):
            assert found[name] == content.replace(str(local_job).encode(), output.encode())
        elif name.endswith(".jsonl"):
            assert without_seconds(found[name]) == without_seconds(content)
        elif name.endswith(".html"):  # it tells the time too, or how the output is called
            assert b"&lt;my-" in found[name]
        else:
            assert found[name] == content, name

    assert train_all([replace(config, resume=True) for config in remote]) == []
    with pytest.raises(Incomplete, match="holds a run; add resume=True"):
        train_all(remote)
    assert contents() == found
    assert [path for path in temporary.rglob("*") if path.is_file() or path.name in ("my-cat", "my-dog")] == []


def without_seconds(content: bytes) -> list[dict[str, Any]]:
    return [{**json.loads(line), "seconds": None} for line in content.splitlines()]


def test_a_remote_run_that_was_stopped_goes_on(
    make_config: MakeConfig, finished_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its local folder, and to the same bytes; nothing is published before all of it is there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "temporary"))
    config = make_config(output=f"file://{tmp_path}/far")

    def stop(line: dict[str, Any]) -> None:
        if line["step"] == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        train(config, [on_step(stop)])
    assert not (tmp_path / "far").exists()
    seen: list[int] = []
    run = train(replace(config, resume=True), [on_step(lambda line: seen.append(line["step"]))])
    assert seen[-1] == 8
    assert seen[0] in (6, 7)
    assert [line["step"] for line in run.history] == list(range(1, 9))
    published = tmp_path / "far" / "my-cat" / "my-cat.safetensors"
    assert published.read_bytes() == Path(finished_run.embedding).read_bytes()
    assert [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()] == []


def test_manifest(local_job: Path, pair: list[TrainConfig], finished_run: Run, tmp_path: Path) -> None:
    """An entry says what was made and how: its config alone makes the same bytes again."""
    entries = manifest(local_job)
    assert entries.keys() == {"my-cat", "my-dog"}
    for name, entry in entries.items():
        assert entry["config"] == read_yaml(str(local_job / name / "config.yaml"))
        assert (entry["token"], entry["step"]) == (f"<{name}>", {"my-cat": 4, "my-dog": 3}[name])
        measured = [line for line in history(local_job / name) if "validation_loss" in line]
        best = min(measured, key=lambda line: line["validation_loss"])
        assert entry["best_step"] in (0, best["step"])
        assert read_embedding(local_job / name / f"{name}.safetensors").metadata["ti_trainer.step"] == str(
            entry["best_step"]
        )
    again = [config_from_mapping({**entry["config"], "output": str(tmp_path)}) for entry in entries.values()]
    train_all(again)
    for name in entries:
        for file in (f"{name}.safetensors", "diffusers/learned_embeds.safetensors", "before_after.png"):
            assert (tmp_path / name / file).read_bytes() == (local_job / name / file).read_bytes()

    (entry,) = manifest(Path(finished_run.folder).parent).values()
    single = train(config_from_mapping({**entry["config"], "output": str(tmp_path), "name": "single"}))
    assert Path(single.embedding).read_bytes() == Path(finished_run.embedding).read_bytes()


def test_tuned_word_in_the_manifest(alone: list[Run]) -> None:
    entry = manifest(Path(alone[0].folder).parent)["cat-tuned"]
    assert (entry["token"], entry["config"]["token"], entry["step"]) == ("<cat-tuned>", "cat", 6)


def write_list(kind: str, file: Path, settings: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[str]:
    """Write a list of concepts in a way that the command reads; returns the flags that name it."""
    config = file.with_suffix(".yaml")
    if kind == "yaml":
        config.write_text(yaml.safe_dump({**settings, "concepts": list(rows)}))
        return ["--config", str(config)]
    config.write_text(yaml.safe_dump(settings))
    listed = file.with_suffix(f".{kind}")
    if kind == "jsonl":
        listed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with listed.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, sorted(set().union(*rows)), restval="")
            writer.writeheader()
            writer.writerows(rows)
    return ["--config", str(config), "--concepts", str(listed)]


@pytest.mark.parametrize("kind", ["yaml", "jsonl", "csv"])
def test_lists_by_the_command(
    kind: str,
    base_settings: dict[str, Any],
    pictures: Path,
    other_pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Settings of a concept come before those of all, and flags before both."""
    shared = {key: value for key, value in base_settings.items() if key not in ("token", "images", "init")}
    settings = {**shared, "output": str(tmp_path / "runs"), "lr": 0.1, "batch_size": 2}
    rows: list[dict[str, Any]] = [
        {"token": "<my-cat>", "images": str(pictures), "init": "a red cat", "lr": 0.2, "steps": 5},
        {"token": "<my-dog>", "images": str(other_pictures), "init": "dog", "num_vectors": 2, "flip": True},
    ]
    flags = [*write_list(kind, tmp_path / "list", settings, rows), "--steps", "2"]
    if kind != "yaml":  # which is a config of one's own
        flags += ["--trusted_roots", str(pictures), str(other_pictures)]
    assert main(["train", *flags, "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    cat, dog = configs_from_mapping(printed)
    assert cat.concept == Concept("<my-cat>", str(pictures), init="a red cat")
    assert dog.concept == Concept("<my-dog>", str(other_pictures), init="dog", num_vectors=2)
    assert [(config.lr, config.steps, config.batch_size, config.flip) for config in (cat, dog)] == [
        (0.2, 2, 2, False),
        (0.1, 2, 2, True),
    ]
    assert not (tmp_path / "runs").exists()

    assert main(["train", *flags]) == 0
    shown = capsys.readouterr().out
    for config, count in ((cat, 3), (dog, 2)):
        folder = tmp_path / "runs" / config.run_name
        assert config_from_mapping(read_yaml(str(folder / "config.yaml"))) == config
        assert [(line["step"], line["lr"]) for line in history(folder)] == [(1, config.lr), (2, config.lr)]
        file = folder / f"{config.run_name}.safetensors"
        assert read_embedding(file).vectors["clip_l"].shape == (count, 32)
        assert f"{config.run_name}: rows of step {manifest(folder.parent)[config.run_name]['best_step']}" in shown
        assert str(file) in shown


def test_lists_that_the_command_refuses(
    base_settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**{key: value for key, value in base_settings.items() if key != "token"}, "output": str(tmp_path / "x")}
    for rows, message in [
        ([{"token": "<a>"}, {"token": "<b>", "precision": "bf16"}], "precision is 'fp32' for <a> and 'bf16' for <b>"),
        ([{"token": "<a>"}, {"token": "<b>", "model": "other"}], "'other' for <b>"),
        ([{"token": "<a>"}, {"token": "<a>"}], "two concepts are called 'a'"),
        ([{"token": "cat-x"}, {"token": "cat-x_1"}], "'cat-x_1' could be a row of 'cat-x'"),
        ([{"token": "<a>"}, {"token": "<b>", "early_stop": -1}], "concept 2 of 2: early_stop is -1"),
        ([{"token": "<a>"}, {"token": "<b>", "gradient_accumulation": 2}], "'gradient_accumulation' is not a setting"),
    ]:
        assert main(["train", *write_list("yaml", tmp_path / "list", settings, rows)]) == 2
        errors = capsys.readouterr().err
        assert message in errors
        assert "Traceback" not in errors
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("seen_first", [True, False])
def test_a_picture_that_goes_after_the_scan(
    make_two: Callable[..., list[TrainConfig]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen_first: bool
) -> None:
    """One that the first step shows, or one of the others: its concept fails alone."""
    cat, dog = make_two(steps=2, batch_size=1, validate_every=0)
    folder = tmp_path / "photos"
    shutil.copytree(cat.concept.images[0], folder)
    cat = replace(cat, concept=replace(cat.concept, images=str(folder)))
    original = ti_trainer.training.admission.prepare

    def prepare(*arguments: Any) -> Session:
        session = original(*arguments)
        if session.config is cat:
            shown = draw_example(session.data, cat.seed, 0, 0, 1).view
            for example, views in zip(session.data.examples, session.data.views, strict=True):
                if (views[0] is shown) is seen_first:
                    (folder / Path(example.picture.name).name).unlink()
        return session

    monkeypatch.setattr(ti_trainer.training.admission, "prepare", prepare)
    with pytest.raises(Incomplete, match="1 of 2 concepts failed:\n  my-cat: "):
        train_all([cat, dog])
    assert list(Storage(cat.output).published()) == ["my-dog"]


@pytest.mark.parametrize("ends_well", [True, False])
def test_memory_is_given_back(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, ends_well: bool) -> None:
    """A notebook keeps the run, or the error with its traceback, and neither of them keeps the model."""
    denoisers: list[weakref.ref[torch.nn.Module]] = []

    def load(*arguments: Any) -> Any:
        family = original(*arguments)
        denoisers.append(weakref.ref(family.denoiser))
        return family

    original = ti_trainer.training.shared_model.load_model
    monkeypatch.setattr(ti_trainer.training.shared_model, "load_model", load)
    stop = threading.Event()
    if not ends_well:
        stop.set()
    for _ in range(2):  # two runs in one kernel
        kept: list[Any] = []
        try:
            kept.append(train(make_config(steps=2, overwrite=True), stop=stop))
        except Interrupted as error:
            kept.append(error)
        assert isinstance(kept[0], Run) == ends_well
        gc.collect()
        assert [each() for each in denoisers] == [None] * len(denoisers)
    assert len(denoisers) == 2


def test_a_run_in_a_thread(make_config: MakeConfig, tmp_path: Path) -> None:
    """It is stopped by `stop`, and the same call with resume=True makes it what it would have been."""
    whole = train(make_config(output=str(tmp_path / "whole")))
    stop = threading.Event()
    said: list[BaseException] = []

    def work() -> None:
        try:
            train(make_config(), [on_step(lambda line: stop.set() if line["step"] == 3 else None)], stop=stop)
        except Interrupted as error:
            said.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert re.search(r"stopped after step \d of 8; to go on:\n  the same call with resume=True$", str(said[0]))
    with pytest.raises(BadInput, match="holds a run; add resume=True to go on, overwrite=True to delete it"):
        train(make_config())  # a cell that is run again
    again = train(make_config(resume=True))
    assert Path(again.embedding).read_bytes() == Path(whole.embedding).read_bytes()
