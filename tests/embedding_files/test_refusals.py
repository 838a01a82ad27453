"""Files that are something else are called by their name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.embeddings import pickled, refusal, rows
from ti_trainer.embedding_files.content import Content
from ti_trainer.embedding_files.refusals import MAX_TENSORS, REFUSALS, check_kind

XTI = ("IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "MID", *(f"OUT{number:02d}" for number in range(3, 12)))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({key: rows(1) for key in XTI}, "XTI"),
        ({"emp_params": rows() * 0, "emp_params_out": rows()}, "output vectors"),
        (
            {"clip_l": rows(), "clip_g": rows(2, 1280), "clip_l_out": rows(), "clip_g_out": rows(2, 1280)},
            "output vectors",
        ),
        ({"bundle_emb.cat.clip_l": rows(), "bundle_emb.cat.clip_l_out": rows()}, "output vectors"),
        ({"lora_unet_mid.lora_down.weight": rows(), "lora_unet_mid.alpha": rows(1, 1)}, "a LoRA without an embedding"),
        ({"unet.mid.lora_A.weight": rows(), "unet.mid.lora_B.weight": rows()}, "a LoRA without an embedding"),
        ({"mid.hada_w1_a": rows(), "mid.hada_w1_b": rows()}, "a LoRA without an embedding"),
        ({f"model.{number}.weight": rows(1, 4) for number in range(40)}, "is a model"),
    ],
)
def test_refused_by_name(tmp_path: Path, tensors: dict[str, torch.Tensor], message: str) -> None:
    save_file(tensors, tmp_path / "x.safetensors")
    assert message in refusal(tmp_path / "x.safetensors")
    assert message in refusal(pickled(tensors, tmp_path / "x.pt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"hash": "a1b2", "optimizer_state_dict": {"state": {0: {"exp_avg": rows()}}}}, "without .optim"),
        ({"state_dict": {"cond_stage_model": rows()}, "global_step": 1}, "is a model"),
        ({"string_to_param": 5}, "no embedding of a known layout ('string_to_param')"),
        ({"string_to_param": {}}, "no embedding of a known layout"),
        ({1: rows()}, "no embedding of a known layout (dict)"),
        ({}, "no embedding of a known layout"),
        ([], "no embedding of a known layout (list)"),
        ("text", "no embedding of a known layout (str)"),
    ],
)
def test_pickles_that_hold_no_embedding(tmp_path: Path, content: Any, message: str) -> None:
    for legacy in (False, True):
        assert message in refusal(pickled(content, tmp_path / "x.pt", legacy))


@pytest.mark.parametrize(
    "names",
    [
        ["emb_params"],
        ["emp_params"],
        ["clip_l", "clip_g", "t5xxl"],
        ["<lora-style>"],  # a word with "lora" in it
        ["<in01>"],
        ["string_to_token", "string_to_param", "name", "step", "sd_checkpoint", "sd_checkpoint_name"],
        [f"<word-{number}>" for number in range(MAX_TENSORS)],
        ["bundle_emb.cat.clip_l", *(f"lora_unet_{number}.lora_down.weight" for number in range(900))],
    ],
)
def test_what_is_let_through(names: list[str]) -> None:
    content = Content(Path("x"), dict.fromkeys(names))
    check_kind(content)
    assert not any(is_kind(content.names) for is_kind, _ in REFUSALS)
