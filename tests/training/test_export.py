"""What an exported file tells about the run that made it, and what it keeps to itself."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.running import checkpoint, interrupting
from ti_trainer import Interrupted, Run, TrainConfig, __version__, train
from ti_trainer.cli import main
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


def test_embeddings_on_the_way(make_config: MakeConfig, tmp_path: Path) -> None:
    """Each holds the rows of its step under a token of its own; and the same after a stop and a resume."""
    settings = {"steps": 5, "checkpoint_every": 1, "save_every": 2, "plots": False}
    run = train(make_config(**settings))
    folder = Path(run.folder) / "embeddings"
    names = ["my-cat-000002.safetensors", "my-cat-000004.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name, step in zip(names, (2, 4), strict=True):
        found = read_embedding(folder / name)
        assert found.token == f"<{name.removesuffix('.safetensors')}>"
        assert torch.equal(found.vectors["clip_l"], checkpoint(Path(run.folder), step)["rows.clip_l"])
        assert found.metadata["ti_trainer.step"] == str(step)
        assert found.metadata["modelspec.title"] == name.removesuffix(".safetensors")
        assert found.metadata["ti_trainer.data_hash"] == read_embedding(run.embedding).metadata["ti_trainer.data_hash"]

    config = make_config(**settings, name="stopped")
    with pytest.raises(Interrupted):
        train(config, [interrupting(3)])
    late = Path(config.output) / "stopped" / "embeddings" / "my-cat-000008.safetensors"
    shutil.copy(folder / names[1], late)  # as of a run that had been asked for more steps
    again = train(replace(config, resume=True))
    found = {path.name: path.read_bytes() for path in (Path(again.folder) / "embeddings").iterdir()}
    assert found == {name: (folder / name).read_bytes() for name in names}


def test_a_checkpoint_is_the_embedding_of_its_run(
    finished_run: Run, make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(finished_run.folder) / "checkpoints" / "step-000004.safetensors"
    rows = checkpoint(Path(finished_run.folder), 4)["rows.clip_l"]
    found = read_embedding(file)
    assert found.token == "<my-cat>"
    assert torch.equal(found.vectors["clip_l"], rows)
    saved = read_embedding(finished_run.embedding).metadata
    left_out = {"ti_trainer.data_hash", "modelspec.hash_sha256", "ti_trainer.slots", "format"}
    wanted = {name: text for name, text in saved.items() if name not in left_out}
    assert found.metadata == {**wanted, "ti_trainer.step": "4"}
    assert main(["inspect", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vectors"] == 4
    assert main(["convert", str(file), "--to", "webui", "--output", str(tmp_path)]) == 0
    assert torch.equal(load_file(tmp_path / "my-cat.safetensors")["emb_params"], rows)
    run = train(make_config(init=f"file:{file}", lr=0, steps=1, validate_every=0, plots=False))
    assert torch.equal(read_embedding(run.embedding).vectors["clip_l"], rows)


def test_a_checkpoint_of_two_encoders_loses_none(make_config: MakeConfig, tiny_models: dict[str, Path]) -> None:
    run = train(make_config(model=str(tiny_models["sdxl-eps"]), steps=1, validate_every=0, plots=False))
    found = read_embedding(Path(run.folder) / "checkpoints" / "step-000001.safetensors")
    saved = read_embedding(run.embedding)
    assert (found.token, found.families) == (saved.token, saved.families)
    assert found.vectors.keys() == saved.vectors.keys() == {"clip_l", "clip_g"}
    assert all(torch.equal(found.vectors[slot], rows) for slot, rows in saved.vectors.items())


def test_what_its_maker_says_and_a_thumbnail(make_config: MakeConfig, finished_run: Run) -> None:
    """A picture of 256 pixels, which is what the saved rows draw; the rows are the same, and so is a second file."""
    own = {"author": "me", "description": "my cat", "license": "CC0-1.0", "tags": ["cat", "striped"], "thumbnail": True}
    runs = [train(make_config(**own, plots=True, date="2026-11-30", name=name)) for name in ("a", "b")]
    assert Path(runs[0].embedding).read_bytes() == Path(runs[1].embedding).read_bytes()
    found = read_embedding(runs[0].embedding)
    assert torch.equal(found.vectors["clip_l"], read_embedding(finished_run.embedding).vectors["clip_l"])
    told = {name.removeprefix("modelspec."): text for name, text in found.metadata.items()}
    assert (told["author"], told["description"], told["license"]) == ("me", "my cat", "CC0-1.0")
    assert (told["tags"], told["date"]) == ("cat,striped", "2026-11-30")
    head, _, text = told["thumbnail"].partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(text))) as thumbnail:
        assert (thumbnail.size, thumbnail.format) == ((256, 256), "JPEG")
        small = np.asarray(thumbnail.resize((32, 32), Image.Resampling.BOX)).astype(int)
    drawn = Path(runs[0].folder) / "previews" / f"step-{runs[0].best_step:06d}-1.png"
    with Image.open(drawn) as picture:
        assert np.abs(small - np.asarray(picture)).mean() < 8
    assert not {"thumbnail", "author", "date"} & {
        name.removeprefix("modelspec.") for name in read_embedding(finished_run.embedding).metadata
    }
