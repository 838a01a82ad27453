import pickle

import pytest
import torch
from safetensors.torch import save, save_file

from ti_trainer.embedding_files import read_embedding
from ti_trainer.errors import BadInput


def rows(count: int = 2, width: int = 768) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("key", ["emb_params", "emp_params", "clip_l", "<cat>", "anything"])
def test_any_key(tmp_path, key: str) -> None:
    save_file({key: rows()}, tmp_path / "my-cat.safetensors")
    found = read_embedding(tmp_path / "my-cat.safetensors")
    assert torch.equal(found.vectors["clip_l"], rows())
    assert found.token == ("<cat>" if key == "<cat>" else "<my-cat>")


def test_token_of_the_metadata_comes_first(tmp_path) -> None:
    save_file({"<dog>": rows()}, tmp_path / "my-cat.safetensors", metadata={"ti_trainer.token": "blorp"})
    found = read_embedding(str(tmp_path / "my-cat.safetensors"), slot="clip_g")
    assert found.token == "blorp"
    assert list(found.vectors) == ["clip_g"]


def test_one_dimension_is_one_vector(tmp_path) -> None:
    save_file({"<cat>": rows()[0].contiguous()}, tmp_path / "a.safetensors")
    assert torch.equal(read_embedding(tmp_path / "a.safetensors").vectors["clip_l"], rows()[:1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_other_precisions(tmp_path, dtype: torch.dtype) -> None:
    save_file({"emb_params": rows().to(dtype)}, tmp_path / "a.safetensors")
    found = read_embedding(tmp_path / "a.safetensors").vectors["clip_l"]
    assert found.dtype == torch.float32
    assert torch.equal(found, rows().to(dtype).float())


def with_value(value: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    damaged = rows().to(dtype)
    damaged[1, 5] = value
    return damaged


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a safetensors file"),
        (b"not an embedding at all", "is not a safetensors file"),
        (pickle.dumps({"string_to_param": 1}), "is not a safetensors file"),
        (save({"emb_params": rows()})[:-1], "is not a safetensors file"),
        (save({"emb_params": rows()})[:50], "is not a safetensors file"),
        (save({"emb_params": rows()}) + b"more", "is not a safetensors file"),
        (b"\xff" * 7 + b"\x7f" + b"{}", "is not a safetensors file"),  # a header of 9 exabytes
        ((2**40).to_bytes(8, "little") + b"{}", "is not a safetensors file"),
        (header(b'{"a":{"dtype":"F32","shape":[99999999,768],"data_offsets":[0,4]}}') + b"0000", "not a safetensors"),
        (header(b"[]      "), "is not a safetensors file"),
        (save({}), "holds 0 tensors"),
        (save({"clip_l": rows(), "clip_g": rows(2, 1280)}), "holds 2 tensors (clip_"),
        (save({"emb_params": torch.ones(2, 768, dtype=torch.int64)}), "no embedding of finite numbers"),
        (save({"emb_params": torch.ones(2, 768, dtype=torch.bool)}), "no embedding of finite numbers"),
        (save({"emb_params": rows().view(2, 2, 384)}), "of shape (2, 2, 384)"),
        (save({"emb_params": torch.tensor(1.0)}), "of shape ()"),
        (save({"emb_params": with_value(float("nan"))}), "no embedding of finite numbers"),
        (save({"emb_params": with_value(float("-inf"))}), "no embedding of finite numbers"),
        (save({"emb_params": with_value(1e300, torch.float64)}), "no embedding of finite numbers"),
        (save({"emb_params": rows(100)}), "has 100 vectors"),
        (save({"emb_params": torch.zeros(0, 768)}), "has 0 vectors"),
        (save({"emb_params": torch.zeros(1, 8193)}), "of width 8193"),
    ],
)
def test_files_that_are_refused(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadInput) as refusal:
        read_embedding(path)
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was run')",))


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".ckpt", ".PT", ".safetensors"])
def test_pickles_are_not_opened(tmp_path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BadInput, match="is a pickle" if suffix != ".safetensors" else "not a safetensors file"):
        read_embedding(path)


def test_models_are_not_opened(tmp_path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(BadInput, match="68,157,440 bytes: that is a model"):
        read_embedding(path)


def test_not_a_file(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.safetensors"):
        with pytest.raises(BadInput, match="is not a file"):
            read_embedding(path)
