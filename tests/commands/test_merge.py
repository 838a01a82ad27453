"""`merge` on the command line; which rows it makes is tested with method/."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.embeddings import rows
from ti_trainer.cli import main
from ti_trainer.commands.merge import file_and_token
from ti_trainer.embedding_files import Embedding, read_embedding, write_embedding
from ti_trainer.method.sphere_mean import mean_rows


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    """Files of <cat> and <dog>."""
    paths = [tmp_path / "cat.safetensors", tmp_path / "dog.safetensors"]
    for seed, path in enumerate(paths):
        write_embedding(Embedding(f"<{path.stem}>", {"clip_l": rows(seed=seed)}), path, "webui")
    return [str(path) for path in paths]


def test_a_mean_named_after_both(
    two: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["merge", *two, "--weights", ".7", ".3"]) == 0
    assert "<cat-dog> (2 vectors, for SD 1.x or Flux)\n  wrote cat-dog.safetensors" in capsys.readouterr().out
    found = read_embedding("cat-dog.safetensors")
    assert found.token == "<cat-dog>"
    wanted = mean_rows(torch.stack([rows(seed=0), rows(seed=1)]), torch.tensor([0.7, 0.3], dtype=torch.float64))
    assert torch.equal(found.vectors["clip_l"], wanted)
    # and nothing is written over
    assert main(["merge", *two]) == 2
    assert "exists: choose another --output, or add --overwrite" in capsys.readouterr().err
    assert torch.equal(read_embedding("cat-dog.safetensors").vectors["clip_l"], wanted)
    assert main(["merge", *two, "--overwrite"]) == 0


def test_joined_in_another_format(two: list[str], tmp_path: Path) -> None:
    """`--out` is short for --output."""
    path = tmp_path / "both.pt"
    assert main(["merge", *two, "--join", "--token", "<both>", "--to", "a1111-pt", "--out", str(path)]) == 0
    found = read_embedding(path)
    assert found.token == "<both>"
    assert torch.equal(found.vectors["clip_l"], torch.cat([rows(seed=0), rows(seed=1)]))
    assert found.metadata["ti_trainer.merge"] == "join"


def test_tokens_of_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "several.safetensors"
    save_file({"<a>": rows(1, seed=3), "<b>": rows(2, seed=4)}, path)
    output = tmp_path / "ab.safetensors"
    assert main(["merge", f"{path}:<b>", f"{path}:<a>", "--join", "--token", "<ab>", "--output", str(output)]) == 0
    found = read_embedding(output)
    assert torch.equal(found.vectors["clip_l"], torch.cat([rows(2, seed=4), rows(1, seed=3)]))
    assert main(["merge", str(path), f"{path}:<a>", "--join", "--overwrite"]) == 2
    assert "choose one of them with --token, in merge with FILE:TOKEN" in capsys.readouterr().err
    assert file_and_token(str(path)) == (str(path), None)
    assert file_and_token("gone.pt:<a>") == ("gone.pt:<a>", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{cat}"], "cat.safetensors alone cannot be merged: name two files or more"),
        (["{cat}", "{dog}", "--join", "--weights", "1", "2"], "--join keeps all rows as they are: leave out --weights"),
        (["{cat}", "{dog}", "--token", "My Cat"], "'<my-cat>' would do"),
        (["{cat}", "{dog}", "--weights", "1"], "--weights are 1 numbers for 2 embeddings; give one for each"),
        (["{cat}", "{dog}", "--to", "webiu"], "--to is 'webiu'; choose one of"),
        (["{cat}", "{dog}x"], "dog.safetensorsx"),
    ],
)
def test_refusals(
    two: list[str],
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    cat, dog = two
    assert main(["merge", *(text.format(cat=cat, dog=dog) for text in arguments)]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
