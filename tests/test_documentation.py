"""What README.md and docs/ tell people to type is run, in a folder that has what they speak of."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ti_trainer.cli import COMMANDS, main, parse

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TRAINERS = ("ti-trainer", "accelerate", "python")

# in place of what takes long, or lies on another machine
QUICK = {
    "train": ["--steps", "1", "--batch_size", "1", "--validate_every", "0", "--no-plots", "--overwrite"],
    "distill": ["--steps", "1", "--overwrite"],
    "evaluate": ["--steps", "1", "--seeds", "1", "--judge", "tiny-clip"],
    "preview": ["--preview_steps", "1"],
    "suggest": ["--words", "words.txt", "--passes", "200"],
    "caption": ["--phrases", "scenes.txt"],
    "convert": ["--overwrite"],
}
STANDS_FOR = {
    "MODEL": "models/sd15",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "models/sd15",
    "openai/clip-vit-base-patch32": "tiny-clip",
    "facebook/dinov2-base": "tiny-clip",
}
ELSEWHERE = ("caption", "publish", "ui")  # their examples ask a hub, or go on for ever; all have tests of their own
ENDLESS = ("--watch", "--engine")  # lines with these are only parsed: they do not end, or start a cluster


def commands_of(page: Path) -> list[str]:
    """The lines of a page that are to be typed: indented, and beginning with a program."""
    programs = "|".join([*TRAINERS, "make", "pip"])
    return re.findall(rf"^ {{4,}}((?:{programs}) .*)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def all_commands(*programs: str) -> list[Any]:
    found = {line: page.name for page in PAGES for line in commands_of(page) if line.split()[0] in programs}
    if "ti-trainer" in programs:
        found |= {each.EXAMPLE: f"{name} --help" for name, each in COMMANDS.items() if name not in ELSEWHERE}
    return [pytest.param(line, id=f"{page}: {line[:60]}") for line, page in found.items()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages have it in mind: pictures, models, lists and earlier runs."""
    place = tmp_path_factory.mktemp("home")
    for folder in ("photos", "photos/dog", "photos/mug", "photos/my-dog", "paintings", "portraits", "bad-photos"):
        (place / folder).mkdir()
        for number in (1, 2):
            shutil.copy(ROOT / "sample_data" / "my-cat" / f"{number}.png", place / folder)
    (place / "models").mkdir()
    for name in ("sd15", "stable-diffusion-v1-5"):
        (place / "models" / name).symlink_to(ROOT / "sample_data" / "tiny-sd")
    (job,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "many.md").read_text(encoding="utf-8"), re.DOTALL)
    (place / "job.yaml").write_text(job, encoding="utf-8")
    (place / "orders.jsonl").write_text('{"token": "<my-order>", "images": "photos/dog", "init": "dog"}\n')
    (place / "words.txt").write_text("cat\ndog\n")
    (place / "scenes.txt").write_text("on grass\non the beach\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        train = ["train", "--token", "<my-dog>", "--images", "photos/dog", "--model", "models/sd15", "--init", "dog"]
        assert main([*train, *QUICK["train"]]) == 0
        for name in ("old-dog", "my-dog", "my-cat"):
            shutil.copy("runs/my-dog/my-dog.safetensors", f"{name}.safetensors")
        assert main(["convert", "old-dog.safetensors", "--to", "a1111-pt", "--output", "my-dog.pt"]) == 0
    return place


def arguments_of(line: str) -> list[str]:
    """What the trainer gets of a line, shortened: what is learned in one step is not looked at."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(line.replace("s3://", "memory://"))]
    start = words.index("train.py") if "train.py" in words else 0
    arguments = (["train"] if start else []) + words[start + 1 :]
    command = arguments[0]
    if command == "train" and not {"--init", "--concepts", "job.yaml"} & set(arguments):
        arguments += ["--init", "cat"]
    if command == "train" and "--config" in arguments and "job.yaml" not in arguments and "--model" not in arguments:
        arguments += ["--model", "models/sd15"]  # for that of the hub
    if "job.yaml" in arguments:
        arguments += ["--output", "job"]
    quick = QUICK.get(command, [])
    return arguments + [word for word in quick if word != "--overwrite" or "--resume" not in arguments]


@pytest.mark.parametrize("line", all_commands(*TRAINERS))
def test_commands(place: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.chdir(place)
    words = shlex.split(line)
    if words[1] == "ui" or set(words) & set(ENDLESS):
        parse(words[1:])
        return
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    assert main(arguments_of(line)) == 0


def test_targets_of_make_and_extras_of_pip() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE))
    lines = {param.values[0] for param in all_commands("make", "pip")}
    assert lines
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        if program == "make":
            assert set(words) <= targets
        else:
            asked = {extra for word in words for extra in re.findall(r"\[(\w+)\]", word)}
            assert words[0] == "install"
            assert asked <= extras


def test_python_of_the_readme(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is run as it stands, for one step."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert 'model="models/sd15")' in block
    quick = block.replace('model="models/sd15")', 'model="models/sd15", steps=1, output="from-python", plots=False)')
    exec(quick, {})
    assert (place / "from-python" / "my-cat" / "my-cat.safetensors").is_file()


def test_every_command_has_its_place_on_the_page() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert re.findall(r"\{\{ help (\w+) \}\}", page) == list(COMMANDS)


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"
