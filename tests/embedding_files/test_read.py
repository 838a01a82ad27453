"""What is read from files that are as they should be, and which are refused by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from tests.embeddings import pickled, refusal, rows
from ti_trainer.embedding_files import Embedding, read_embedding, write_embedding
from ti_trainer.embedding_files.read import slot_of
from ti_trainer.errors import BadInput


def equal(found: Embedding, wanted: dict[str, torch.Tensor]) -> bool:
    return set(found.vectors) == set(wanted) and all(
        vectors.dtype == torch.float32 and vectors.is_contiguous() and torch.equal(vectors, wanted[slot].float())
        for slot, vectors in found.vectors.items()
    )


# keys as files have them -> slots; widths choose where the key says nothing
LAYOUTS: dict[str, tuple[dict[str, torch.Tensor], dict[str, str]]] = {
    "kohya, A1111, ours": ({"emb_params": rows(3)}, {"emb_params": "clip_l"}),
    "OneTrainer": ({"emp_params": rows(2)}, {"emp_params": "clip_l"}),
    "diffusers, very old": ({"<cat>": rows(1)[0]}, {"<cat>": "clip_l"}),
    "diffusers": ({"<cat>": rows(1)}, {"<cat>": "clip_l"}),
    "SD 2": ({"x": rows(2, 1024)}, {"x": "clip_h"}),
    "lone CLIP-G": ({"x": rows(2, 1280)}, {"x": "clip_g"}),
    "another width": ({"x": rows(2, 96)}, {"x": "clip_l"}),
    "SDXL": ({"clip_l": rows(), "clip_g": rows(2, 1280)}, {"clip_l": "clip_l", "clip_g": "clip_g"}),
    "SDXL reversed, mixed": (
        {"clip_g": rows(2, 1280).half(), "clip_l": rows()},
        {"clip_l": "clip_l", "clip_g": "clip_g"},
    ),
    "SDXL, numbered": (
        {"text_encoders_0": rows(), "text_encoders_1": rows(2, 1280)},
        {"text_encoders_0": "clip_l", "text_encoders_1": "clip_g"},
    ),
    "another's name": ({"clip_g": rows(2, 768)}, {"clip_g": "clip_l"}),
    "Flux, diffusers": ({"clip_l": rows(), "t5": rows(2, 4096)}, {"clip_l": "clip_l", "t5": "t5xxl"}),
    "Flux, ComfyUI": ({"clip_l": rows(), "t5xxl": rows(2, 4096)}, {"clip_l": "clip_l", "t5xxl": "t5xxl"}),
    "SD 3": (
        {"clip_l": rows(), "clip_g": rows(2, 1280), "t5xxl": rows(2, 4096)},
        {"clip_l": "clip_l", "clip_g": "clip_g", "t5xxl": "t5xxl"},
    ),
    "bundle": ({"bundle_emb.cat.clip_l": rows(), "lora_unet.alpha": rows(1)}, {"bundle_emb.cat.clip_l": "clip_l"}),
    "bundle of A1111": (
        {"bundle_emb.my.cat.string_to_param.*": rows()},
        {"bundle_emb.my.cat.string_to_param.*": "clip_l"},
    ),
    "bundle of SDXL": (
        {
            "bundle_emb.cat.clip_l": rows(),
            "bundle_emb.cat.clip_g": rows(2, 1280),
            **{f"lora_{i}": rows(1) for i in range(40)},
        },
        {"bundle_emb.cat.clip_l": "clip_l", "bundle_emb.cat.clip_g": "clip_g"},
    ),
}


@pytest.mark.parametrize("container", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path: Path, layout: str, container: str) -> None:
    """The same whether safetensors or a pickle, under whatever extension; 1-D is one vector."""
    tensors, slots = LAYOUTS[layout]
    path = tmp_path / "file.xyz"
    if container == "safetensors":
        save_file(tensors, path)
    else:
        pickled(tensors, path, legacy=container == "legacy")
    wanted = {slot: tensors[key].view(-1, tensors[key].shape[-1]) for key, slot in slots.items()}
    assert equal(read_embedding(path), wanted)


@pytest.mark.parametrize("keys", [("clip_g", "clip_l"), ("<cat>", "<cat>"), ("a", "b")])
def test_list_of_mappings(tmp_path: Path, keys: tuple[str, str]) -> None:
    path = pickled([{keys[0]: rows(2, 1280)}, {keys[1]: rows()}], tmp_path / "cat.pt")
    assert equal(read_embedding(path), {"clip_g": rows(2, 1280), "clip_l": rows()})


def test_list_of_one_encoder_twice(tmp_path: Path) -> None:
    assert "two tensors for clip_l" in refusal(pickled([{"a": rows()}, {"b": rows()}], tmp_path / "cat.pt"))


def test_different_numbers_of_vectors(tmp_path: Path) -> None:
    save_file({"clip_l": rows(2), "clip_g": rows(3, 1280)}, tmp_path / "cat.safetensors")
    assert "2 for clip_l" in refusal(tmp_path / "cat.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_other_precisions(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file({"emb_params": rows().to(dtype)}, tmp_path / "a.safetensors")
    assert equal(read_embedding(tmp_path / "a.safetensors"), {"clip_l": rows().to(dtype)})


def test_the_file_may_go_when_it_was_read(tmp_path: Path) -> None:
    """The vectors are no views of the mapped file."""
    save_file({"emb_params": rows()}, tmp_path / "a.safetensors")
    found = read_embedding(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"\0" * 8192)
    assert equal(found, {"clip_l": rows()})
    assert found.vectors["clip_l"].untyped_storage().nbytes() == 2 * 768 * 4


# --- tokens ---


@pytest.mark.parametrize(
    ("key", "token"),
    [
        ("emb_params", "<my-cat>"),
        ("clip_l", "<my-cat>"),
        ("<dog>", "<dog>"),
        ("dog", "dog"),
        ("<Big-Dog>", "<big-dog>"),
        ("a dog", "<my-cat>"),  # no word in a prompt
        ("../../dog", "<my-cat>"),
        ("<" + "x" * 200 + ">", "<my-cat>"),
        ("\x1b[31mdog", "<my-cat>"),
    ],
)
def test_token_by_key_or_by_name(tmp_path: Path, key: str, token: str) -> None:
    save_file({key: rows()}, tmp_path / "My cat.safetensors")
    assert read_embedding(tmp_path / "My cat.safetensors").token == token


@pytest.mark.parametrize(
    ("told", "token"),
    [("blorp", "blorp"), ("<blorp>", "<blorp>"), ("x" * 9000, "<dog>"), ("<..\\x>", "<dog>"), ("", "<dog>")],
)
def test_token_by_metadata(tmp_path: Path, told: str, token: str) -> None:
    save_file({"<dog>": rows()}, tmp_path / "my-cat.safetensors", metadata={"ti_trainer.token": told})
    assert read_embedding(str(tmp_path / "my-cat.safetensors")).token == token


def test_a_name_without_letters(tmp_path: Path) -> None:
    save_file({"emb_params": rows()}, tmp_path / "猫.safetensors")
    assert read_embedding(tmp_path / "猫.safetensors").token == "<embedding>"


def test_a_token_of_ones_own(tmp_path: Path) -> None:
    save_file({"<dog>": rows()}, tmp_path / "a.safetensors", metadata={"ti_trainer.token": "<blorp>"})
    assert read_embedding(tmp_path / "a.safetensors", "<new>").token == "<new>"
    with pytest.raises(BadInput, match=r"^token is 'My Cat'.*'<my-cat>' would do"):
        read_embedding(tmp_path / "a.safetensors", "My Cat")


@pytest.mark.parametrize("legacy", [False, True])
def test_bare_tensor_needs_a_name(tmp_path: Path, legacy: bool) -> None:
    path = pickled(rows(), tmp_path / "cat.pt", legacy)
    assert "without a name: give it one with token" in refusal(path)
    found = read_embedding(path, "<cat>")
    assert found.token == "<cat>"
    assert equal(found, {"clip_l": rows()})


def test_several_embeddings(tmp_path: Path) -> None:
    save_file({"<dog>": rows(), "<Cat>": rows(3)}, tmp_path / "a.safetensors", metadata={"ti_trainer.token": "<dog>"})
    for token in (None, "<other>"):
        message = refusal(tmp_path / "a.safetensors", token)
        assert "several embeddings" in message
        assert "'<Cat>', '<dog>'" in message
        assert "--token" in message
    found = read_embedding(tmp_path / "a.safetensors", "<Cat>")
    assert found.token == "<cat>"
    assert equal(found, {"clip_l": rows(3)})


def test_unknown_keys_of_two_encoders_are_several(tmp_path: Path) -> None:
    save_file({"a": rows(), "b": rows(2, 1280)}, tmp_path / "a.safetensors")
    assert "several embeddings" in refusal(tmp_path / "a.safetensors")


def test_messages_cannot_play_with_the_terminal(tmp_path: Path) -> None:
    save_file({"a\x1b[2J": rows(), "b" * 9000: rows()}, tmp_path / "a.safetensors")
    message = refusal(tmp_path / "a.safetensors")
    assert message.isprintable()
    assert "'a\\x1b[2J'" in message
    assert len(message) < 1000


def test_bundle_of_two(tmp_path: Path) -> None:
    save_file({"bundle_emb.a.emp_params": rows(), "bundle_emb.b.emp_params": rows(3)}, tmp_path / "lora.safetensors")
    assert "several embeddings ('<a>', '<b>')" in refusal(tmp_path / "lora.safetensors")
    assert equal(read_embedding(tmp_path / "lora.safetensors", "<b>"), {"clip_l": rows(3)})


# --- one embedding in several files ---


def test_pair_of_diffusers(tmp_path: Path) -> None:
    first, second = tmp_path / "learned_embeds.safetensors", tmp_path / "learned_embeds_2.safetensors"
    save_file({"<cat>": rows()}, first)
    assert equal(read_embedding(first), {"clip_l": rows()})
    save_file({"<cat>": rows(2, 1280)}, second)
    found = read_embedding(first)
    assert found.token == "<cat>"
    assert found.families == ("SDXL", "SD 3")
    assert equal(found, {"clip_l": rows(), "clip_g": rows(2, 1280)})


@pytest.mark.parametrize(
    "neighbour",
    [
        {"<cat>": rows(2, 768, seed=1)},  # the same encoder
        {"<dog>": rows(2, 1280)},  # another word
        {"<cat>": rows(2, 1024)},  # no model has CLIP-L and CLIP-H
        {"<cat>": rows(2, 1280), "<dog>": rows(2, 1280)},
    ],
)
def test_neighbours_that_are_no_pair(tmp_path: Path, neighbour: dict[str, torch.Tensor]) -> None:
    save_file({"<cat>": rows()}, tmp_path / "cat.safetensors")
    save_file(neighbour, tmp_path / "cat_2.safetensors")
    assert equal(read_embedding(tmp_path / "cat.safetensors"), {"clip_l": rows()})


def test_second_file_that_is_damaged(tmp_path: Path) -> None:
    """Half of an embedding is not taken for a whole one."""
    save_file({"<cat>": rows()}, tmp_path / "cat.safetensors")
    (tmp_path / "cat_2.safetensors").write_bytes(save({"<cat>": rows(2, 1280)})[:500])
    with pytest.raises(BadInput, match=f"{tmp_path / 'cat_2.safetensors'} is no whole safetensors file"):
        read_embedding(tmp_path / "cat.safetensors")


def test_pair_of_different_lengths(tmp_path: Path) -> None:
    save_file({"<cat>": rows()}, tmp_path / "cat.safetensors")
    save_file({"<cat>": rows(3, 1280)}, tmp_path / "cat_2.safetensors")
    assert "different numbers of vectors" in refusal(tmp_path / "cat.safetensors")


def test_pair_of_unknown_widths(tmp_path: Path) -> None:
    """What we wrote for a small model says which encoder it is for."""
    vectors = {"clip_l": rows(2, 32), "clip_g": rows(2, 48)}
    write_embedding(Embedding("<cat>", vectors), tmp_path / "cat.safetensors", "diffusers")
    assert equal(read_embedding(tmp_path / "cat.safetensors"), vectors)
    assert equal(read_embedding(tmp_path / "cat_2.safetensors"), {"clip_g": vectors["clip_g"]})


@pytest.mark.parametrize("ending", ["-neg", "-uc"])
def test_pair_of_dreamartist(tmp_path: Path, ending: str) -> None:
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": rows()}, "name": "cat", "step": 7}
    positive = pickled(content, tmp_path / "cat.pt")
    assert "ti_trainer.negative" not in read_embedding(positive).metadata
    negative = pickled({**content, "string_to_param": {"*": rows(3)}}, tmp_path / f"cat{ending}.pt")
    found = read_embedding(positive)
    assert equal(found, {"clip_l": rows()})
    assert found.metadata["ti_trainer.negative"] == negative.name
    other = read_embedding(negative)
    assert equal(other, {"clip_l": rows(3)})
    assert other.metadata["modelspec.is_negative_embedding"] == "true"


# --- no usable tensors ---


def with_value(value: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    damaged = rows().to(dtype)
    damaged[1, 5] = value
    return damaged


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(2, 768, dtype=torch.int64), "no plain tensor of fractions"),
        (torch.ones(2, 768, dtype=torch.bool), "no plain tensor of fractions"),
        (rows().view(2, 2, 384), "has 3 dimensions"),
        (torch.tensor(1.0), "has 0 dimensions"),
        (with_value(float("nan")), "not finite"),
        (with_value(float("-inf")), "not finite"),
        (with_value(1e300, torch.float64), "not finite"),
        (rows(100), "has 100 vectors of width 768; at most 75"),
        (torch.zeros(0, 768), "has 0 vectors"),
        (torch.zeros(1, 8193), "of width 8193"),
        (torch.zeros(1, 0), "of width 0"),
    ],
)
def test_tensors_that_are_refused(tmp_path: Path, tensor: torch.Tensor, message: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(save({"emb_params": tensor}))
    assert message in refusal(tmp_path / "x.safetensors")
    assert message in refusal(pickled({"emb_params": tensor}, tmp_path / "x.pt"))


def test_metadata_that_no_other_file_can_hold_is_left_out(tmp_path: Path) -> None:
    """Half a surrogate pair cannot be written as UTF-8, and was an error where the embedding was converted."""
    content = {
        "string_to_param": {"*": rows()},
        "name": "\ud800",
        "sd_checkpoint_name": "\udc80",
        "ti_trainer": {"a": "b", "c": "\udfff", "\ud800": "d", "k" * 2_000: "e"},
    }
    torch.save(content, tmp_path / "my cat.pt")
    found = read_embedding(tmp_path / "my cat.pt")
    assert (found.token, dict(found.metadata)) == ("<my-cat>", {"a": "b"})
    (written,) = write_embedding(found, tmp_path / "new.safetensors", "webui")
    assert read_embedding(written).metadata["a"] == "b"


@pytest.mark.parametrize(
    ("width", "told", "slot"),
    [
        (1024, "", "clip_h"),
        (1024, "qwen3_06b", "qwen3_06b"),  # as wide as clip_h: our metadata tells
        (1024, "clip_l", "clip_h"),
        (4096, "", "t5xxl"),
        (4096, "qwen3_8b", "qwen3_8b"),
        (2560, "", "qwen3_4b"),
        (32, "clip_h", "clip_h"),
        (32, "", "clip_l"),
    ],
)
def test_widths_that_two_encoders_have(width: int, told: str, slot: str) -> None:
    assert slot_of(width, {"ti_trainer.slots": told}) == slot
