"""What `inspect` says about a file, against the file and the model's own table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_parts import WORDS
from ti_trainer.cli import main
from ti_trainer.embedding_files import FORMATS, Embedding, write_embedding
from ti_trainer.reports.inspection import shortened

TOKEN = "<my-cat>"


def test_inspect_prints_the_files_numbers(
    model: Path,
    tmp_path: Path,
    reference_pipeline: Callable[[Path], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipeline = reference_pipeline(model)
    table = pipeline.text_encoder.get_input_embeddings().weight.detach()
    cat, snow = pipeline.tokenizer("cat snow", add_special_tokens=False).input_ids
    rows = torch.stack([table[cat] * 3, table[snow] + 0.1 * table[cat]])
    file = tmp_path / "my-cat.safetensors"
    write_embedding(Embedding(TOKEN, {"clip_l": rows}, {"ti_trainer.step": "17"}), file, "webui")

    assert main(["inspect", str(file)]) == 0
    plain = capsys.readouterr().out
    first, second = rows.norm(dim=1).tolist()
    assert re.search(r"token +<my-cat>\n +vectors +2\n", plain)
    assert f"width 32, norms {first:.3f}, {second:.3f}" in plain
    assert "ti_trainer.step = 17" in plain
    assert "near" not in plain

    assert main(["inspect", str(file), "--model", str(model)]) == 0
    out = capsys.readouterr().out
    words = pipeline.tokenizer(" ".join(WORDS), add_special_tokens=False).input_ids  # all its whole words
    lengths = table[words].norm(dim=1).sort().values
    typical = lengths[(lengths.square().cumsum(0) < lengths.square().sum() / 2).sum()].item()
    assert f"row 0: length {first / typical:.2f} x a word's; near cat 1.00, " in out
    cosine = torch.nn.functional.cosine_similarity(rows[1], table[snow], dim=0)
    assert f"row 1: length {second / typical:.2f} x a word's; near snow {cosine:.2f}, " in out
    every = torch.nn.functional.cosine_similarity(rows[:1], table, dim=1).sort(descending=True)
    words = [word.removesuffix("</w>") for word in pipeline.tokenizer.convert_ids_to_tokens(every.indices[:5].tolist())]
    wanted = ", ".join(f"{word} {value:.2f}" for word, value in zip(words, every.values, strict=False))
    assert f"near {wanted}\n" in out

    assert main(["inspect", str(file), "--model", str(model), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["token"] == TOKEN
    assert figures["vectors"] == 2
    assert figures["families"] == []
    assert figures["metadata"]["ti_trainer.step"] == "17"
    slot = figures["text_encoders"]["clip_l"]
    assert slot["width"] == 32
    assert slot["norms"] == pytest.approx([first, second], rel=1e-5)
    assert [row["length_ratio"] for row in slot["vocabulary"]] == pytest.approx([first / typical, second / typical])
    near = dict(map(tuple, slot["vocabulary"][0]["nearest"]))
    assert near == pytest.approx(dict(zip(words, every.values.tolist(), strict=False)))


@pytest.mark.parametrize("file_format", [name for name, row in FORMATS.items() if row.pack])
def test_every_format(tmp_path: Path, file_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = torch.arange(1536.0).view(2, 768) / 768
    path = tmp_path / f"cat{FORMATS[file_format].suffix}"
    write_embedding(Embedding("<cat>", {"clip_l": rows}), path, file_format)
    assert main(["inspect", str(path), "--token", "<new>"]) == 0
    out = capsys.readouterr().out
    assert "  token     <new>\n  vectors   2\n  for       SD 1.x or Flux\n" in out
    assert f"clip_l    width 768, norms {rows[0].norm():.3f}, {rows[1].norm():.3f}\n" in out


def test_sdxl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = {"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 1280)}
    write_embedding(Embedding("<cat>", vectors), tmp_path / "cat.safetensors", "diffusers")
    assert main(["inspect", str(tmp_path / "cat.safetensors")]) == 0
    out = capsys.readouterr().out
    assert "for       SDXL or SD 3" in out
    for slot, rows in vectors.items():
        assert f"{slot}    width {rows.shape[1]}, norms {rows.norm():.3f}\n" in out


def test_an_embedding_for_the_negative_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.safetensors"
    told = {"modelspec.is_negative_embedding": "true"}
    write_embedding(Embedding("<bad>", {"clip_l": torch.ones(1, 768)}, told), file, "webui")
    assert main(["inspect", str(file)]) == 0
    assert "use       in the negative prompt" in capsys.readouterr().out
    assert main(["inspect", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["negative"] is True


def test_a_picture_in_the_metadata_is_not_printed() -> None:
    assert shortened("data:image/jpeg;base64," + "A" * 5000) == "data:image/jpeg;base64... (5,023 letters)"
    assert shortened("data:" + "A" * 50) == "data:" + "A" * 50
