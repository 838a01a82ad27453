"""Which models are found on a machine, without loading any."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ti_trainer import Concept, TrainConfig
from ti_trainer.cli import main
from ti_trainer.errors import BadInput
from ti_trainer.files.model_places import models_on_this_machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a working folder beside ComfyUI, and nothing else."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    models_on_this_machine.cache_clear()
    return tmp_path


def pipeline(folder: Path, name: str = "StableDiffusionPipeline") -> Path:
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name}))
    return folder


def checkpoint(file: Path, key: str = "model.diffusion_model.input_blocks.0.0.weight") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: torch.zeros(1)}, file)
    return file


def test_models_are_known_by_their_files(machine: Path) -> None:
    checkpoints = machine / "ComfyUI" / "models" / "checkpoints"
    checkpoint(checkpoints / "a.safetensors")
    checkpoint(checkpoints / "lora.safetensors", "lora_unet.weight")
    checkpoint(checkpoints / "deep" / "er" / "b.safetensors")
    checkpoint(checkpoints / "deep" / "er" / "still" / "c.safetensors")
    (checkpoints / "d.safetensors").write_bytes(b"no header")
    os.mkfifo(checkpoints / "pipe.safetensors")
    pipeline(machine / "work" / "models" / "sd15")
    pipeline(machine / "work" / "models" / "wan", "WanPipeline")
    modular = pipeline(machine / "work" / "models" / "anima", "AnimaModularPipeline")
    (modular / "model_index.json").rename(modular / "modular_model_index.json")
    pipeline(machine / "elsewhere" / "sdxl", "StableDiffusionXLPipeline")
    found = ["../ComfyUI/models/checkpoints/a.safetensors", "../ComfyUI/models/checkpoints/deep/er/b.safetensors"]
    assert list(models_on_this_machine()) == [*found, "models/anima", "models/sd15"]
    assert models_on_this_machine(str(machine / "elsewhere"))[0] == str(machine / "elsewhere" / "sdxl")


def test_models_of_the_hub(machine: Path) -> None:
    """The cache has its own layout: snapshots of links to blobs."""
    cache = machine / "hub"
    for name, kind in (("a/sd", "StableDiffusionPipeline"), ("b/other", "KandinskyPipeline")):
        repo = cache / f"models--{name.replace('/', '--')}"
        pipeline(repo / "snapshots" / "abc", kind)
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text("abc")
    assert models_on_this_machine(None, str(cache)) == ("a/sd",)


def test_own_pictures_need_a_model(
    machine: Path, pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody wants a miniature to learn their cat; the message has the flag for each model that is there."""
    monkeypatch.setenv("HF_HUB_CACHE", str(machine / "none"))
    arguments = ["train", "--token", "<my-cat>", "--images", str(pictures), "--steps", "1"]
    assert main(arguments) == 2
    first, second, last = capsys.readouterr().err.splitlines()
    assert first == f"error: --images {pictures} needs --model, the Stable Diffusion model that is to learn from them"
    assert second.startswith("for example --model stable-diffusion-v1-5/")
    assert last == "--model tiny-sd is a miniature, for trying things"
    checkpoint(machine / "my models" / "a.safetensors")
    assert main([*arguments, "--models_dir", str(machine / "my models")]) == 2
    _, second, third, _ = capsys.readouterr().err.splitlines()
    assert second == "on this machine are:"
    assert third == f'  --model "{machine}/my models/a.safetensors"'
    with pytest.raises(BadInput, match="needs model, the Stable"):
        TrainConfig(Concept("<a>", images=str(pictures)))
    assert TrainConfig(Concept("<a>", images=str(pictures)), model="tiny-sd").model == "tiny-sd"
    assert TrainConfig(Concept("<a>")).model == "tiny-sd"


def test_many_models_are_not_all_listed(machine: Path) -> None:
    for number in range(12):
        checkpoint(machine / "work" / "models" / f"{number:02}.safetensors")
    with pytest.raises(BadInput) as refusal:
        TrainConfig(Concept("<a>", images="photos"))
    assert str(refusal.value).splitlines()[-2] == "  and 4 more"
