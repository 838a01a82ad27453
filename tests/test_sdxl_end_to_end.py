"""configs/sdxl.yaml as a user starts it, on a folder and on a single checkpoint file: files that diffusers loads."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.original_layout import original_layout
from tests.tiny_models import build_pipeline
from ti_trainer import load_into_pipeline
from ti_trainer.cli import main
from ti_trainer.config.settings import config_from_mapping, read_yaml

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
ARGUMENTS = ["--config", "configs/sdxl.yaml", "--token", "<my-cat>", "--steps", "5", "--validation_samples", "2"]


def assert_diffusers_loads(folder: Path, fresh: Callable[[], Any]) -> None:
    """Each encoder gets the rows of the WebUI's file, by diffusers' own loader and by ours, and a prompt is drawn."""
    webui = load_file(folder / "my-cat.safetensors")
    assert {name: tensor.shape[1] for name, tensor in webui.items()} == {"clip_l": 32, "clip_g": 40}
    by_calls, by_helper = fresh(), fresh()
    for suffix in ("", "_2"):
        by_calls.load_textual_inversion(
            str(folder / "diffusers" / f"learned_embeds{suffix}.safetensors"),
            text_encoder=getattr(by_calls, f"text_encoder{suffix}"),
            tokenizer=getattr(by_calls, f"tokenizer{suffix}"),
        )
    assert load_into_pipeline(by_helper, folder / "my-cat.safetensors") == "<my-cat>"
    for pipeline in (by_calls, by_helper):
        for suffix, slot in (("", "clip_l"), ("_2", "clip_g")):
            table = getattr(pipeline, f"text_encoder{suffix}").get_input_embeddings().weight
            assert torch.equal(table[-len(webui[slot]) :], webui[slot])
            assert "<my-cat>_3" in getattr(pipeline, f"tokenizer{suffix}").get_vocab()
        image = pipeline("a <my-cat> in the snow", num_inference_steps=1, height=32, width=32).images[0]
        assert image.size == (32, 32)


def test_folder(tiny_models: dict[str, Path], reference_pipeline: Callable[[Path], Any], tmp_path: Path) -> None:
    model = tiny_models["sdxl-eps"]
    command = ["-m", "accelerate.commands.launch", "train.py", *ARGUMENTS, "--model", str(model)]
    done = subprocess.run(
        [sys.executable, *command, "--output", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert_diffusers_loads(tmp_path / "my-cat", lambda: reference_pipeline(model))
    for suffix in ("", "_2"):  # the printed lines are the calls made above
        file = tmp_path / "my-cat" / "diffusers" / f"learned_embeds{suffix}.safetensors"
        assert (
            f'pipeline.load_textual_inversion("{file}", text_encoder=pipeline.text_encoder{suffix}, '
            f"tokenizer=pipeline.tokenizer{suffix})" in done.stdout
        )


def test_single_file(
    tiny_models: dict[str, Path],
    reference_pipeline: Callable[[Path], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Offline, with the configs of a folder; the rows are those that the folder's weights give."""
    monkeypatch.chdir(ROOT)
    model, checkpoint = tiny_models["sdxl-eps"], tmp_path / "model.safetensors"
    save_file(original_layout(build_pipeline("sdxl-eps")), checkpoint)
    file = ["--model", str(checkpoint), "--model_config", str(model), "--offline"]
    for name, which in (("file", file), ("folder", ["--model", str(model)])):
        assert main(["train", *ARGUMENTS, *which, "--output", str(tmp_path), "--name", name]) == 0
    assert_diffusers_loads(tmp_path / "file", lambda: reference_pipeline(model))
    for slot, rows in load_file(tmp_path / "file" / "my-cat.safetensors").items():
        torch.testing.assert_close(load_file(tmp_path / "folder" / "my-cat.safetensors")[slot], rows)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_configs_hold_settings_and_say_when_to_use_them(path: Path) -> None:
    config = config_from_mapping({**read_yaml(str(path)), "token": "<my-cat>"})
    assert config.model.count("/") == 1
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"--config configs/{path.name}" in text
