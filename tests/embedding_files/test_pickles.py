"""Pickles: malicious ones are refused, nothing is run and the memory not filled; what others' have is read."""

import codecs
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.embeddings import refusal, rows
from ti_trainer.embedding_files import read_embedding
from ti_trainer.embedding_files.pickles import read_pickle
from ti_trainer.errors import BadInput

pytestmark = pytest.mark.usefixtures("bounded_memory")
MIB = 2**20


# --- traps ---


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


def saved_in(content: Any, protocol: int) -> Iterator[bytes]:
    """The content as a plain pickle, and as torch writes it in either layout."""
    yield pickle.dumps(content, protocol=protocol)
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(content, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
        yield buffer.getvalue()


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".png"])
def test_code_is_not_run(tmp_path: Path, suffix: str, protocol: int) -> None:
    place = tmp_path / "trap"
    for content in (Trap(place), {"string_to_param": {"*": [0.5]}, "name": Trap(place)}):
        for data in saved_in(content, protocol):
            (tmp_path / f"x{suffix}").write_bytes(data)
            message = refusal(tmp_path / f"x{suffix}")
            assert f"asks for '{os.mkdir.__module__}.mkdir'" in message
            assert "Nothing of it was run" in message
            assert not place.exists()
    pickle.loads(pickle.dumps(Trap(place)))
    assert place.exists()  # the trap works


def test_names_that_are_hidden(tmp_path: Path) -> None:
    """A name that reaches the import by the memo, past the reading of the program, meets weights_only."""
    place = tmp_path / "trap"
    text = lambda word: b"\x8c" + bytes([len(word)]) + word  # noqa: E731
    program = (
        b"\x80\x04" + text(b"posix") + b"\x94" + b"0" + text(b"mkdir") + b"\x94" + b"0" + text(b"_codecs") + b"0"
        + text(b"encode") + b"0" + b"h\x00h\x01\x93" + text(str(place).encode()) + b"\x85R."
    )  # fmt: skip
    (tmp_path / "x.pt").write_bytes(program)
    refusal(tmp_path / "x.pt", "<cat>")
    assert not place.exists()
    pickle.loads(program)
    assert place.exists()


class Call:
    """Unpickled, calls a function with arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (Call(bytearray, 2**40), "bytearray"),  # weights_only admits it
        (
            torch.sparse_coo_tensor(torch.zeros(2, 1), torch.ones(1), (75, 768), check_invariants=True),
            "_rebuild_sparse_tensor",
        ),
        (torch.empty(75, 768, device="meta"), "_rebuild_meta_tensor_no_storage"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (np.ones(3), "_reconstruct"),
    ],
)
def test_what_no_embedding_needs(tmp_path: Path, content: Any, name: str) -> None:
    torch.save({"emb_params": content}, tmp_path / "x.pt")
    assert name in refusal(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("size", "stride"), [((2**31, 768), (0, 0)), ((75, 8192), (0, 0)), ((75, 768), (0, 1)), ((2, 2**40), (0, 0))]
)
def test_stride_bombs(tmp_path: Path, size: tuple[int, int], stride: tuple[int, int]) -> None:
    """A kilobyte that claims terabytes: one number, or one row, again and again."""
    bomb = torch.ones(768).as_strided(size, stride)
    for legacy in (False, True):
        torch.save({"emb_params": bomb}, tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
        assert (tmp_path / "x.pt").stat().st_size < 8192
        assert "vectors of width" in (message := refusal(tmp_path / "x.pt")) or "holds fewer" in message


def test_zip_bombs(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"emb_params": rows()}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = next(name for name in members if name.endswith("data/0"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**members, data: bytes(60 * MIB)}.items():
            archive.writestr(name, content)
    assert path.stat().st_size < MIB
    assert "may be a bomb" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if not name.endswith("data.pkl"):
                archive.writestr(name, content)
    assert "none that torch.save wrote" in refusal(path)


def test_endless_programs(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"\x80\x02" + b"]0" * 2 * MIB + b".")
    assert "more than 20,000 operations" in refusal(tmp_path / "x.pt")
    (tmp_path / "x.pt").write_bytes(b"\x80\x02" + b"]" * 15_000 + b"a" * 4_000 + b".")
    assert "is damaged" in refusal(tmp_path / "x.pt")


def test_legacy_storage_that_is_not_there(tmp_path: Path) -> None:
    """The old layout says how many numbers a storage has before they come."""
    buffer = io.BytesIO()
    torch.save({"emb_params": rows()}, buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    claim = struct.pack("<H", 2 * 768)
    (place,) = (at for at in range(len(data) - 3) if data[at : at + 3] == b"M" + claim)  # BININT2 of the storage
    (tmp_path / "x.pt").write_bytes(data[:place] + b"J" + struct.pack("<i", 2**30) + data[place + 3 :])
    assert "is damaged" in refusal(tmp_path / "x.pt")
    for length in (100, len(data) // 2, len(data) - 1):
        (tmp_path / "x.pt").write_bytes(data[:length])
        assert "is damaged" in refusal(tmp_path / "x.pt")


# --- what others' pickles have, and is harmless ---


class OwnDict(torch.nn.ParameterDict):
    pass


def a1111_content(**changes: Any) -> dict[str, Any]:
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": rows()},
        "name": "cat",
        "step": 1500,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
        **changes,
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("step", [1500, np.int64(1500), np.int32(1500), np.uint16(1500)])
def test_a1111(tmp_path: Path, legacy: bool, step: Any) -> None:
    content = a1111_content(step=step, sd_checkpoint="a1b2c3d4", string_to_param={"*": torch.nn.Parameter(rows())})
    torch.save(content, tmp_path / "old file.pt", _use_new_zipfile_serialization=not legacy)
    found = read_embedding(tmp_path / "old file.pt")
    assert found.token == "<cat>"
    assert torch.equal(found.vectors["clip_l"], rows())
    assert found.metadata == {"ti_trainer.step": "1500", "ti_trainer.base_model_hash": "a1b2c3d4"}


def test_a1111_without_particulars(tmp_path: Path) -> None:
    for content in (a1111_content(step=None), a1111_content(step=np.float64(3.5)), a1111_content(name=7, step=[1])):
        torch.save(content, tmp_path / "cat.pt")
        found = read_embedding(tmp_path / "cat.pt")
        assert (found.token, dict(found.metadata)) == ("<cat>", {})
        assert torch.equal(found.vectors["clip_l"], rows())


def test_scalars_of_older_numpy(tmp_path: Path) -> None:
    torch.save(a1111_content(step=np.int64(77)), tmp_path / "cat.pt")
    with zipfile.ZipFile(tmp_path / "cat.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    assert b"numpy._core.multiarray" in members[name]
    members[name] = members[name].replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    with zipfile.ZipFile(tmp_path / "cat.pt", "w") as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    assert read_embedding(tmp_path / "cat.pt").metadata["ti_trainer.step"] == "77"


def first_code(**parameters: torch.Tensor) -> dict[str, Any]:
    """As the first Textual Inversion code saved it."""
    tokens = {name: torch.tensor(265) for name in parameters}
    return {"string_to_token": tokens, "string_to_param": torch.nn.ParameterDict(parameters)}


def test_parameter_dict(tmp_path: Path) -> None:
    torch.save(first_code(**{"*": rows()}), tmp_path / "my-cat.pt")
    found = read_embedding(tmp_path / "my-cat.pt")
    assert found.token == "<my-cat>"
    assert torch.equal(found.vectors["clip_l"], rows())


def test_parameter_dict_of_two_placeholders(tmp_path: Path) -> None:
    path = tmp_path / "both.pt"
    torch.save(first_code(cat=rows(), dog=rows(3)), path)
    with pytest.raises(BadInput, match=r"several embeddings \('cat', 'dog'\)"):
        read_embedding(path)
    assert torch.equal(read_embedding(path, "dog").vectors["clip_l"], rows(3))
    torch.save(first_code(**{"*": rows(), "@": rows(3)}), path)
    found = read_embedding(path, "@")  # no word, but one of the file's
    assert found.token == "<both>"
    assert torch.equal(found.vectors["clip_l"], rows(3))


@pytest.mark.filterwarnings("default")
def test_parameter_dict_of_the_old_layout(tmp_path: Path) -> None:
    """Its source code stands in the file: refused, and said so."""
    torch.save(first_code(**{"*": rows()}), tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    assert "is refused by torch's safe reader" in refusal(tmp_path / "x.pt")


def test_stand_ins_do_nothing(tmp_path: Path) -> None:
    """Whatever state a file gives them, what comes out is looked at like anything else."""
    strange = torch.nn.ParameterDict({"*": rows()})
    for state in ({"_parameters": 5}, {"_parameters": {"*": "text"}}, {"_parameters": OrderedDict({1: rows()})}):
        strange.__dict__.update(state)
        torch.save({"string_to_param": strange}, tmp_path / "x.pt")
        assert "holds no embedding" in refusal(tmp_path / "x.pt")


def bytes_in(codec: str) -> Any:
    return Call(codecs.encode, "\xe4\xff", codec)


@pytest.mark.parametrize("legacy", [False, True])
def test_bytes_are_read_in_latin1_and_in_nothing_else(tmp_path: Path, legacy: bool) -> None:
    """Protocol 2 has bytes as a call of _codecs.encode, with which a few kilobytes of punycode take minutes."""
    path = tmp_path / "x.pt"
    for content in ({"a": b"\xe4\xff"}, {"a": bytes_in("latin1")}, {"a": bytes_in("latin-1")}):
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        assert read_pickle(path) == {"a": b"\xe4\xff"}
    for codec in ("punycode", "idna", "utf-8", "LATIN1", "unicode_escape", "hex"):
        torch.save({"a": bytes_in(codec)}, path, _use_new_zipfile_serialization=not legacy)
        assert f"asks for the codec '{codec}', which no embedding needs" in refusal(path)


def test_archive_behind_another(tmp_path: Path) -> None:
    """Readers of zip archives differ in which they take: torch is given the one that was checked, and no other."""
    path = tmp_path / "x.pt"
    torch.save({"emb_params": Call(bytearray, 2**40)}, path)
    bad = path.read_bytes()
    torch.save({"emb_params": rows()}, path)
    good = path.read_bytes()
    path.write_bytes(bad + good)
    assert torch.equal(read_embedding(path).vectors["clip_l"], rows())
    path.write_bytes(good + bad)
    assert "asks for '__builtin__.bytearray'" in refusal(path)


def test_archives_of_many_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for number in range(5_001):
            archive.writestr(f"x/data/{number}", b"")
    assert "is a zip archive of more than 5,000 members" in refusal(tmp_path / "x.pt")
