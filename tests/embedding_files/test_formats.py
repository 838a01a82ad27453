"""What each row of FORMATS finds in a file, before anything of it is trusted, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from tests.published_widths import PUBLISHED
from ti_trainer.embedding_files.content import Content
from ti_trainer.embedding_files.embedding import Embedding
from ti_trainer.embedding_files.formats import (
    FORMATS,
    a1111_content,
    alone,
    unpack_a1111,
    unpack_bundle,
    unpack_keys,
    unpack_list,
    unpack_tensor,
    unpack_tokens,
)
from ti_trainer.embedding_files.pickles import ParameterDict
from ti_trainer.errors import BadInput


def rows(count: int = 2, width: int = 768) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(width + count))


def content(data: Any, **metadata: str) -> Content:
    return Content(Path("x"), data, metadata)


def a1111(name: object = "my-cat", **changes: Any) -> dict[str, Any]:
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": rows()}, "name": name, "step": 70, **changes}


def unpacked_by(data: Any) -> list[str]:
    """The formats that find something."""
    return [name for name, row in FORMATS.items() if row.unpack(content(data))]


@pytest.mark.parametrize("name", ["my-cat", "<my-cat>", "<my-cat", "my-cat>", "<<my-cat>>"])
def test_name_of_a1111_gets_brackets(name: str) -> None:
    """A1111 calls an embedding as its file; the token that other programs and our own prompts have is in brackets."""
    (found,) = unpack_a1111(content(a1111(name))) or []
    assert found.token == "<my-cat>"
    assert torch.equal(found.vectors["*"], rows())


@pytest.mark.parametrize("name", [None, 7, b"cat"])
def test_a1111_without_a_name(name: object) -> None:
    """The key of the tensor is all there is; it is no word, and the file's name will do."""
    (found,) = unpack_a1111(content(a1111(name))) or []
    assert found.token == "*"


def test_what_a1111_tells() -> None:
    told = a1111(sd_checkpoint="a1b2", sd_checkpoint_name="sd", ti_trainer={"ti_trainer.seed": "3", 7: "x"})
    (found,) = unpack_a1111(content(told)) or []
    assert found.metadata == {
        "ti_trainer.step": "70",
        "ti_trainer.base_model_hash": "a1b2",
        "ti_trainer.base_model": "sd",
        "ti_trainer.seed": "3",
    }
    (found,) = unpack_a1111(content(a1111(step=None, sd_checkpoint=[1], ti_trainer="text"))) or []
    assert found.metadata == {}


def test_placeholders_of_the_first_code() -> None:
    """One of several is called by its own placeholder, whatever the name is."""
    parameters = ParameterDict()
    parameters._parameters = {"cat": rows(), "*": rows(3), "number": 5}
    found = unpack_a1111(content(a1111("both", string_to_param=parameters))) or []
    assert [(each.token, list(each.vectors)) for each in found] == [("cat", ["*"]), ("*", ["*"])]
    assert torch.equal(found[1].vectors["*"], rows(3))


@pytest.mark.parametrize(
    ("data", "formats"),
    [
        ({"emb_params": rows()}, ["webui", "kohya", "onetrainer"]),
        ({"emp_params": rows()}, ["webui", "kohya", "onetrainer"]),
        ({"*": rows()}, ["webui", "kohya", "onetrainer"]),
        ({"clip_l": rows(), "clip_g": rows(2, 1280)}, ["webui", "kohya", "onetrainer"]),
        ({"t5": rows(2, 4096)}, ["webui", "kohya", "onetrainer"]),
        ({"<cat>": rows()}, ["diffusers"]),
        ({"<cat>": rows(), "<dog>": rows()}, ["diffusers"]),
        ({"emb_params": rows(), "<cat>": rows()}, []),
        ({"rows.clip_l": rows(), "best.clip_l": rows(), "optimizer.0.step": rows(1, 1)}, ["checkpoint"]),
        ({"rows.clip_l": rows(), "rows.clip_g": rows(2, 1280)}, ["checkpoint"]),
        ({"rows.clip_l": rows(), "other": rows()}, ["diffusers"]),
        (a1111(), ["a1111-pt", "png-card"]),
        ({"bundle_emb.cat.clip_l": rows(), "lora_mid.alpha": rows(1, 1)}, ["lora-bundle"]),
        ([{"<cat>": rows()}, {"<cat>": rows(2, 1280)}], ["list"]),
        (rows(), ["tensor"]),
        ({}, []),
        ({7: rows()}, []),
        ({"<cat>": [0.5]}, []),
        ([], []),
        ([{"a": rows(), "b": rows()}], []),
        ([{"a": rows()}] * 9, []),
        ("text", []),
        (None, []),
    ],
)
def test_which_formats_know_it(data: Any, formats: list[str]) -> None:
    """Several formats may share a reader; no file is two things."""
    assert unpacked_by(data) == formats
    assert len({FORMATS[name].unpack for name in formats}) <= 1


def test_keys_of_encoders_are_one_embedding() -> None:
    data = {"clip_g": rows(2, 1280), "clip_l": rows()}
    (found,) = unpack_keys(content(data, key="value")) or []
    assert (found.token, found.metadata) == ("", {"key": "value"})
    assert found.vectors == data


def test_keys_that_are_tokens_are_an_embedding_each() -> None:
    found = unpack_tokens(content({"<cat>": rows(), "dog": rows(3)})) or []
    assert [(each.token, *each.vectors) for each in found] == [("<cat>", "<cat>"), ("dog", "dog")]
    assert torch.equal(found[1].vectors["dog"], rows(3))


def test_bundles_in_a_lora() -> None:
    data = {
        "bundle_emb.my.cat.string_to_param.*": rows(),  # A1111's; a name may have dots
        "bundle_emb.<dog>.clip_l": rows(3),
        "bundle_emb.<dog>.clip_g": rows(3, 1280),
        "lora_unet.alpha": rows(1, 1),
    }
    found = unpack_bundle(content(data, key="of the LoRA")) or []
    assert [(each.token, list(each.vectors)) for each in found] == [
        ("<my.cat>", ["*"]),
        ("<dog>", ["clip_l", "clip_g"]),
    ]
    assert [each.metadata for each in found] == [{}, {}]


def test_list_of_encoders() -> None:
    """Named by encoder, or, where the keys are one word twice, by place; the widths tell later."""
    (named,) = unpack_list(content([{"clip_g": rows(2, 1280)}, {"clip_l": rows()}])) or []
    assert list(named.vectors) == ["clip_g", "clip_l"]
    (twice,) = unpack_list(content([{"cat": rows()}, {"cat": rows(2, 1280)}])) or []
    assert list(twice.vectors) == ["cat 0", "cat 1"]
    assert torch.equal(twice.vectors["cat 1"], rows(2, 1280))


def test_bare_tensor_has_no_name() -> None:
    (found,) = unpack_tensor(content(rows())) or []
    assert (found.token, list(found.vectors)) == ("", ["tensor"])


@pytest.mark.parametrize(
    ("kind", "architecture", "expected"),
    [
        ("SD 1.x", "", True),
        ("SD 2.x", "", True),
        ("SDXL", "", False),
        ("SD 1.x", "flux-1-dev/textual-inversion", False),  # its other encoder's vectors were left out
        ("Flux", "", False),
    ],
)
def test_models_with_one_text_encoder(kind: str, architecture: str, expected: bool) -> None:
    vectors = {slot: rows(2, width) for slot, width in PUBLISHED[kind].items()}
    assert alone(Embedding("<cat>", vectors, {"modelspec.architecture": architecture})) is expected


@pytest.mark.parametrize("step", ["", "70", "7" * 20, "-1", "text"])
def test_content_for_a1111(step: str) -> None:
    """Its own keys, with the stem as the name and a step that is a number of at most nine digits, or none."""
    embedding = Embedding("<my-cat>", {"clip_l": rows()}, {"ti_trainer.step": step, "ti_trainer.base_model": "sd"})
    made = a1111_content(embedding)
    assert made["name"] == "my-cat"
    assert made["string_to_token"] == {"*": 265}
    assert torch.equal(made["string_to_param"]["*"], rows())
    assert made["step"] == (70 if step == "70" else None)
    assert (made["sd_checkpoint"], made["sd_checkpoint_name"]) == (None, "sd")
    assert made["ti_trainer"]["ti_trainer.token"] == "<my-cat>"


def test_a1111_content_is_for_one_encoder() -> None:
    vectors = {"clip_l": rows(), "clip_g": rows(2, 1280)}
    with pytest.raises(BadInput, match=r"<cat> has vectors for clip_l 768 wide \+ clip_g 1280 wide .* another to"):
        a1111_content(Embedding("<cat>", vectors))


@pytest.mark.parametrize("name", ["webui", "diffusers", "kohya", "onetrainer"])
def test_stale_names_are_not_written(name: str) -> None:
    """An embedding that was renamed has its new name in each file, and the hash of what is in there."""
    stale = {"modelspec.title": "old", "ti_trainer.token": "<old>", "modelspec.hash_sha256": "0x0"}
    pack = FORMATS[name].pack
    assert pack
    for payload in pack(Embedding("<cat>", {"clip_l": rows(), "clip_g": rows(2, 1280)}, stale)):
        size = int.from_bytes(payload[:8], "little")
        metadata = json.loads(payload[8 : 8 + size])["__metadata__"]
        assert (metadata["modelspec.title"], metadata["ti_trainer.token"]) == ("cat", "<cat>")
        assert metadata["modelspec.hash_sha256"] != "0x0"
        assert metadata["ti_trainer.slots"].count(",") == len(load(payload)) - 1
