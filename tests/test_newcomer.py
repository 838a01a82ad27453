"""What happens to somebody new who types what people type: each sentence of the trainer, at its place.

The wheel in a fresh environment is in test_wheel.py, and what the pages say to type in test_documentation.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from ti_trainer.cli import main

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
QUICK = [
    "--model",
    "tiny-sd",
    "--init",
    "cat",
    "--steps",
    "2",
    "--batch_size",
    "1",
    "--validate_every",
    "0",
    "--no-plots",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photographs, of which one has black bars, one is broken, and one is there twice; a model; a run."""
    home = tmp_path_factory.mktemp("home")
    for folder in ("photos", "phone", "models"):
        (home / folder).mkdir()
    for number in range(1, 6):
        shutil.copy(ROOT / "sample_data" / "my-cat" / f"{number}.png", home / "photos")
    shutil.copytree(home / "photos", home / "phone", dirs_exist_ok=True)
    shutil.copy(home / "phone" / "1.png", home / "phone" / "copy.png")
    with Image.open(home / "phone" / "2.png") as image:
        ImageOps.expand(image.convert("RGB"), (0, 12, 0, 12), "black").save(home / "phone" / "2.png")
    (home / "phone" / "3.png").write_bytes(b"broken")
    (home / "models" / "mine").symlink_to(ROOT / "sample_data" / "tiny-sd")
    (home / "windows.yaml").write_text('token: <my-cat>\nimages: "C:\\photos\\cat"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(["train", "--token", "<my-cat>", "--images", "photos", *QUICK]) == 0
    return home


# what is typed -> the exit status, and what is said
SAID: dict[str, tuple[str, int, list[str]]] = {
    "own pictures without a model": (
        "train --token <my-cat> --images photos --models_dir models",
        2,
        ["--images photos needs --model", "--model models/mine", "--model tiny-sd is a miniature"],
    ),
    "a word of the model": (
        "train --token <cat> --images photos --model tiny-sd",
        2,
        ["with cat.safetensors A1111 would change every 'cat'", "'<my-cat>' would do"],
    ),
    "a name that Windows keeps for itself": ("train --token <con> --images photos --model tiny-sd", 2, ["'con'"]),
    "a hyphen at the end": ("train --token <my-> --images photos --model tiny-sd", 2, ["'<my>' would do"]),
    "a word that is none": (
        "train --token <my-new> --images photos --overwrite " + " ".join(QUICK).replace("cat", "xyzzyx"),
        0,
        ["the model knows no word 'xyzzyx'"],
    ),
    "the miniature's file": (
        "train --token <my-new> --images photos --overwrite " + " ".join(QUICK),
        0,
        ["cannot load it: no published model has words as wide as this one's"],
    ),
    "a run that is there": (
        "train --token <my-cat> --images photos " + " ".join(QUICK),
        2,
        ["holds a run; add --resume to go on, --overwrite to delete it"],
    ),
    "fewer steps than were taken": (
        "train --config runs/my-cat/config.yaml --resume --steps 1",
        2,
        ["--steps 1 is before step 2, which the run has reached"],
    ),
    "another setting than the run's": (
        "train --config runs/my-cat/config.yaml --resume --seed 1",
        2,
        ["seed was 0 and is 1", "to go on with them:", "--config runs/my-cat/config.yaml --resume"],
    ),
    "pictures of a phone": (
        "dataset phone --token <my-cat> --sheet sheet.png",
        2,
        ["3.png is not a picture", "black bars", "are the same picture", "training would refuse these pictures"],
    ),
    "pictures one by one": ("dataset photos/1.png photos/[23].png --sheet sheet.png", 0, ["3, 3 with repeats"]),
    "a prompt without the word": (
        "preview runs/my-cat/my-cat.safetensors --model tiny-sd --preview_steps 1 --prompts a-dog",
        0,
        ["<my-cat>"],
    ),
    "a command with a slip": ("trian", 2, ["did you mean train?"]),
    "a flag of diffusers": ("train --learning_rate 5e-4", 2, ["it is --lr here"]),
    "a flag of kohya": ("train --train_data_dir photos", 2, ["it is --images here"]),
    "a flag that is far off": ("train --scale_lr", 2, ["--scale_lr"]),
    "a path of Windows in YAML": (
        "train --config windows.yaml",
        2,
        ["with backslashes goes into single quotes"],
    ),
    "a tracker that does not exist": ("train --report_to neptune", 2, ["tensorboard, wandb, trackio"]),
    "a checkpoint of a run": (
        "inspect runs/my-cat/checkpoints/step-000002.safetensors",
        0,
        ["write my-cat (WebUIs) or <my-cat> (diffusers)"],
    ),
    "to somebody else's program": (
        "convert runs/my-cat/my-cat.safetensors --to webui --output shared.safetensors",
        0,
        ["wrote shared.safetensors", "cannot load it: no published model has words as wide as this one's"],
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, case: str
) -> None:
    typed, status, said = SAID[case]
    monkeypatch.chdir(home)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    try:
        code = main(typed.split())
    except SystemExit as end:
        code = int(end.code or 0)
    heard = "".join(capsys.readouterr())
    assert code == status, heard
    for words in said:
        assert words in heard
    assert "Traceback" not in heard
