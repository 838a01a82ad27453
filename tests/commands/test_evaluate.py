"""`evaluate` on the command line; its figures are tested with reports/."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ti_trainer import ModelConfig
from ti_trainer.cli import main
from ti_trainer.config.bundled import JUDGE, MY_CAT, TINY_CLIP, TINY_SD
from ti_trainer.embedding_files import Embedding, write_embedding
from ti_trainer.families import load_family
from ti_trainer.reports.evaluation import evaluate_file, report_text


@pytest.fixture
def embedding(tmp_path: Path) -> str:
    """The word "dog" of the bundled model, as an embedding."""
    (slot,) = load_family(ModelConfig(), torch.device("cpu"), torch.float32).slots
    (dog,) = slot.tokenizer("dog", add_special_tokens=False).input_ids
    rows = slot.table[dog : dog + 1].clone()
    write_embedding(Embedding("<my-cat>", {"clip_l": rows}), tmp_path / "x.safetensors", "webui")
    return str(tmp_path / "x.safetensors")


def test_flags_are_what_evaluate_file_is_given(embedding: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Defaults too: the bundled pictures, CLIP, judge and model, and the guidance of previews."""
    how = ["--count", "2", "--seed", "3", "--steps", "2", "--word", "dog"]
    assert main(["evaluate", embedding, *how, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    drawn = {"count": 2, "seed": 3, "steps": 2, "guidance": 5.0}
    wanted = evaluate_file(embedding, MY_CAT, ModelConfig(model=TINY_SD), TINY_CLIP, JUDGE, word="dog", **drawn)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert main(["evaluate", embedding, *how]) == 0
    assert capsys.readouterr().out == report_text(wanted, False) + "\n"


def test_what_is_refused(embedding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path / "gone.safetensors")]) == 2
    assert "gone.safetensors cannot be read: No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", embedding, "--count", "0"])
    assert capsys.readouterr().err == "error: --count is 0; choose a number from 1 to 1000000\n"
