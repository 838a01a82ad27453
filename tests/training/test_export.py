"""What an exported file tells about the run that made it, and what it keeps to itself."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ti_trainer import Run, TrainConfig, __version__, train
from ti_trainer.embedding_files import read_embedding

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def folder(pictures: Path, tmp_path: Path) -> Path:
    """Two of the pictures, with a caption each."""
    own = tmp_path / "photos"
    own.mkdir()
    for number, text in enumerate(("a {token} at home", "my {token}")):
        shutil.copy(pictures / f"{number}.png", own)
        (own / f"{number}.txt").write_text(text)
    return own


def data_hash(make_config: MakeConfig, folder: Path) -> str:
    """What a run of one step over the pictures of a folder says about its data."""
    config = make_config(images=str(folder), steps=1, validate_every=0, overwrite=True)
    return read_embedding(train(config).embedding).metadata["ti_trainer.data_hash"]


def test_data_hash_is_that_of_pictures_and_captions(make_config: MakeConfig, folder: Path) -> None:
    """Written out: for each picture the hash of its file and its captions, a zero byte after them."""
    content = b"".join(
        hashlib.sha256((folder / f"{number}.png").read_bytes()).digest() + caption + b"\0"
        for number, caption in enumerate((b"a {token} at home", b"my {token}"))
    )
    assert data_hash(make_config, folder) == hashlib.sha256(content).hexdigest()


def test_data_hash_changes_with_the_data_alone(make_config: MakeConfig, folder: Path, tmp_path: Path) -> None:
    first = data_hash(make_config, folder)
    assert data_hash(make_config, shutil.copytree(folder, tmp_path / "elsewhere")) == first
    (folder / "1.txt").write_text("your {token}")
    other_caption = data_hash(make_config, folder)
    (folder / "0.txt").write_text("your {token}")
    (folder / "1.txt").write_text("a {token} at home")
    swapped = data_hash(make_config, folder)
    (folder / "1.png").unlink()
    fewer = data_hash(make_config, folder)
    assert len({first, other_caption, swapped, fewer}) == 4


def test_both_files_hold_the_rows_and_say_the_same(finished_run: Run) -> None:
    webui = read_embedding(finished_run.embedding)
    diffusers = read_embedding(Path(finished_run.folder) / "diffusers" / "learned_embeds.safetensors")
    assert webui.token == diffusers.token == "<my-cat>"
    assert torch.equal(webui.vectors["clip_l"], diffusers.vectors["clip_l"])
    assert webui.metadata == diffusers.metadata


def test_what_the_file_tells(finished_run: Run, model: Path) -> None:
    told = dict(read_embedding(finished_run.embedding).metadata)
    assert told["ti_trainer.version"] == __version__
    assert told["ti_trainer.step"] == str(finished_run.best_step)
    assert told["ti_trainer.vectors"] == "4"
    assert told["ti_trainer.init"] == "cat"
    assert told["ti_trainer.base_model"] == model.name
    assert told["modelspec.resolution"] == "32x32"
    assert told["modelspec.prediction_type"] == "epsilon"
    settings = json.loads(told["ti_trainer.config"])
    assert {key: settings[key] for key in ("steps", "batch_size", "warmup_steps")} == {
        "steps": 8,
        "batch_size": 3,
        "warmup_steps": 0,
    }


def test_no_path_of_this_machine_is_told(finished_run: Run, model: Path, pictures: Path) -> None:
    """The file is shared; where its maker keeps pictures and models is nobody's business."""
    for file in (Path(finished_run.embedding), Path(finished_run.folder) / "diffusers" / "learned_embeds.safetensors"):
        content = file.read_bytes()
        for place in (model.parent, pictures, pictures.parent, Path(finished_run.folder).parent, Path.home()):
            assert len(str(place)) < 4 or str(place).encode() not in content


@pytest.mark.parametrize(("init", "told"), [("random", "random"), ("a red cat", "a red cat")])
def test_start_is_told_in_words(make_config: MakeConfig, init: str, told: str) -> None:
    run = train(make_config(init=init, steps=1, validate_every=0))
    assert read_embedding(run.embedding).metadata["ti_trainer.init"] == told


def test_start_from_a_file_does_not_name_it(make_config: MakeConfig, finished_run: Run) -> None:
    run = train(make_config(init=f"file:{finished_run.embedding}", steps=1, validate_every=0))
    assert read_embedding(run.embedding).metadata["ti_trainer.init"] == "file"
    tuned = train(make_config(token="cat", tune=True, init="auto", steps=1, validate_every=0, name="tuned"))
    found = read_embedding(tuned.embedding)
    assert (found.token, found.metadata["ti_trainer.init"]) == ("<cat-tuned>", "its own rows")
