"""The demo, as a newcomer runs it: the bundled model learns <my-cat>, and its file works where it should."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from ti_trainer import ModelConfig, load_into_pipeline
from ti_trainer.config.bundled import JUDGE, TINY_SD, sample_data
from ti_trainer.families import load_with_embeddings
from ti_trainer.reports.evaluation import draw_in_scenes
from ti_trainer.reports.judge import AttributeJudge, attribute_accuracy

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
WORDS = "striped orange cat with a blue"
CAT = {"object": "cat", "colour": "orange", "pattern": "striped", "accent": "blue"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run's folder and what was printed."""
    output = tmp_path_factory.mktemp("runs")
    command = ["-m", "accelerate.commands.launch", "train.py", "--token", "<my-cat>", "--output", str(output)]
    command += ["--init", WORDS]  # tests/training/test_suggestion.py finds them
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output / "my-cat", done.stdout


def test_files_and_instructions(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    file = folder / "my-cat.safetensors"
    assert file.stat().st_size <= 8192
    assert list(load_file(file)) == ["emb_params"]
    for line in (str(file), str(folder / "before_after.png"), "load_textual_inversion", "WebUIs:       cannot"):
        assert line in printed
    for name in ("before_after.png", "loss.png"):
        with Image.open(folder / name) as picture:
            assert picture.width > 500


def test_every_step_is_noted(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines]
    assert steps == list(range(1, len(steps) + 1))


def test_diffusers_loads_what_was_trained(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    vectors = load_file(folder / "my-cat.safetensors")["emb_params"]
    parts = {"safety_checker": None, "requires_safety_checker": False, "dtype": torch.float32}
    for load in (
        lambda pipe: pipe.load_textual_inversion(folder / "my-cat.safetensors", token="<my-cat>"),
        lambda pipe: pipe.load_textual_inversion(str(folder / "diffusers" / "learned_embeds.safetensors")),
        lambda pipe: load_into_pipeline(pipe, folder / "my-cat.safetensors"),
    ):
        pipeline = StableDiffusionPipeline.from_pretrained(sample_data(TINY_SD), **parts)
        words = len(pipeline.tokenizer)
        load(pipeline)
        table = pipeline.text_encoder.get_input_embeddings().weight
        assert len(pipeline.tokenizer) == words + len(vectors)
        torch.testing.assert_close(table[words:], vectors, rtol=0, atol=0)


def test_it_learned_the_word(demo: tuple[Path, str]) -> None:
    """Pictures of the token show the creature, in the scenes asked for; those of the init word do not."""
    from ti_trainer.embedding_files import read_embedding

    judge = AttributeJudge(JUDGE)
    figures = {}
    for words, count, files in (("cat", 6, []), ("<my-cat>", 18, [demo[0] / "my-cat.safetensors"])):
        family = load_with_embeddings(ModelConfig(), [read_embedding(file) for file in files])
        _, scenes, images = draw_in_scenes(family, words, count, seed=0)
        figures[words] = attribute_accuracy(judge(images), [CAT], scenes)
    assert figures["cat"]["attributes"] < 0.6
    assert figures["<my-cat>"]["attributes"] > 0.85
    assert figures["<my-cat>"]["scene"] > 0.9


def test_evaluate_command(demo: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rows beat the word that they started from by more than chance."""
    from ti_trainer.cli import main

    assert main(["evaluate", str(demo[0]), "--seeds", "1", "--output", str(tmp_path), "--json"]) == 0
    figures = {each["measure"]: each for each in json.loads(capsys.readouterr().out)["figures"]}
    (word,) = figures["attributes"]["differences"].values()
    assert word["low"] > 0
    assert figures["identity"]["means"]["<my-cat>"] > figures["identity"]["means"]['"cat", untrained']
    assert figures["object"]["means"]["<my-cat>"] > 0.5
