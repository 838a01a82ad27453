"""Trackers write for real, and what they have written is read back: TensorBoard, wandb offline, Trackio."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.running import MakeConfig, MakeTwo
from ti_trainer import BadInput, train, train_all
from ti_trainer.config.config import TRACKERS
from ti_trainer.runs.folder import RunFolder
from ti_trainer.training.trackers import CALLS, PROJECT

SHORT: dict[str, Any] = {
    "steps": 3,
    "batch_size": 1,
    "validate_every": 3,
    "plots": True,
    "preview_every": 2,
    "preview_steps": 2,
    "prompts": ("a photo of {token}", "{token}"),
}
DRAWN = (0, 2)  # steps with pictures on the way
BLOCK = 32_768  # bytes
FULL, LAST = 1, 4  # kinds of pieces that end a record


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_there_are_calls_for_each() -> None:
    assert tuple(CALLS) == TRACKERS


def test_tensorboard(make_config: MakeConfig) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = make_config(report_to="tensorboard", **SHORT)
    run = train(config)
    files = RunFolder(config).files
    events = EventAccumulator(str(files.tensorboard), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    for name in ("loss", "length_ratio", "cosine_to_init", "validation_loss"):
        wanted = [(line["step"], line[name]) for line in run.history if name in line]
        found = [(each.step, each.value) for each in events.Scalars(name)]
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    for column in (1, 2):
        shown = events.Images(f"preview_{column}")
        assert [each.step for each in shown] == list(DRAWN)
        for each in shown:
            (files.root / "shown.png").write_bytes(each.encoded_image_string)
            assert (pixels(files.root / "shown.png") == pixels(files.preview(each.step, column))).all()


def test_tensorboard_of_a_run_that_goes_on(make_config: MakeConfig) -> None:
    """It shows each step once."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    short = {**SHORT, "plots": False, "preview_every": 0, "report_to": "tensorboard", "lr_schedule": "constant"}
    train(make_config(**short))
    config = make_config(**{**short, "steps": 5}, resume=True)
    run = train(config)
    events = EventAccumulator(str(RunFolder(config).files.tensorboard))
    events.Reload()
    found = [(each.step, each.value) for each in events.Scalars("loss")]
    np.testing.assert_allclose(found, [(line["step"], line["loss"]) for line in run.history], rtol=1e-6)


def records_of_wandb(file: Path) -> Iterator[bytes]:
    """The records of a log of LevelDB's format, which begins with seven bytes of wandb's own."""
    data = file.read_bytes()
    place = 7
    record = b""
    while place + 7 <= len(data):
        left = BLOCK - place % BLOCK
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            yield record
            record = b""


def test_wandb(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = make_config(report_to="wandb", **SHORT)
    run = train(config)
    files = RunFolder(config).files
    (written,) = (files.root / "wandb").glob("offline-run-*/*.wandb")
    lines: list[dict[str, Any]] = []
    settings: dict[str, Any] = {}
    for data in records_of_wandb(written):
        record = Record.FromString(data)
        if record.HasField("history"):
            lines.append(
                {"/".join(each.nested_key) or each.key: json.loads(each.value_json) for each in record.history.item}
            )
        if record.HasField("run"):
            settings |= {each.key: json.loads(each.value_json) for each in record.run.config.update}
            assert (record.run.project, record.run.display_name) == (PROJECT, "my-cat")
    assert settings["token"] == config.concept.token
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    np.testing.assert_allclose(losses, [(line["step"], line["loss"]) for line in run.history], rtol=1e-6)
    shown = [(line["step"], line["preview_1/path"]) for line in lines if "preview_1/path" in line]
    assert [step for step, _ in shown] == list(DRAWN)
    for step, path in shown:
        assert (pixels(written.parent / "files" / path) == pixels(files.preview(step, 1))).all()


def test_wandb_follows_many_runs_at_once(make_two: MakeTwo, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    two = make_two(report_to="wandb", steps=2, batch_size=1, validate_every=0)
    train_all(two)
    for config in two:
        assert len(list((RunFolder(config).path / "wandb").glob("offline-run-*/*.wandb"))) == 1


def test_trackio(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # it is read when the package is imported
    pytest.importorskip("trackio")
    config = make_config(report_to="trackio", **SHORT)
    run = train(config)
    (base,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(base) as connection:
        rows = connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id").fetchall()
    lines = [(name, step, json.loads(metrics)) for name, step, metrics in rows]
    losses = [(step, line["loss"]) for name, step, line in lines if "loss" in line and name == "my-cat"]
    np.testing.assert_allclose(losses, [(line["step"], line["loss"]) for line in run.history], rtol=1e-6)
    shown = [(step, line["preview_2"]) for _, step, line in lines if "preview_2" in line]
    assert [step for step, _ in shown] == list(DRAWN)
    for step, about in shown:
        (file,) = (tmp_path / "trackio").rglob(Path(about["file_path"]).name)
        assert (pixels(file) == pixels(RunFolder(config).files.preview(step, 2))).all()


def test_trackio_of_many_runs_is_refused(make_two: MakeTwo) -> None:
    with pytest.raises(BadInput, match="follows one run at a time"):
        train_all(make_two(report_to="trackio", steps=2))


def test_a_tracker_that_does_not_want_to(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told in a sentence, and does not stand in the way of the next try."""
    wandb = pytest.importorskip("wandb")

    def refuse(**_: object) -> None:
        raise wandb.errors.UsageError("api_key not configured (no-tty). call wandb.login()")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(BadInput, match=r'^report_to="wandb" cannot begin: api_key not configured \(no-tty\)'):
        train(make_config(report_to="wandb", **SHORT))
    train(make_config(steps=1, batch_size=1))
