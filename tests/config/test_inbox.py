"""Lists that grow, and folders into which lists come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ti_trainer.config.inbox import Arrived, Inbox
from ti_trainer.errors import BadInput


def line(token: str, **more: Any) -> str:
    return json.dumps({"token": token, **more}) + "\n"


def inbox(path: Path, grows: bool = True, **values: Any) -> Inbox:
    return Inbox(str(path), {"model": "tiny-sd", **values}, {}, grows=grows)


def tokens(arrived: Arrived) -> list[str]:
    return [config.concept.token for config in arrived.configs]


def settled(box: Inbox) -> Arrived:
    """What is taken when nobody writes any more."""
    assert box.take() == Arrived()
    return box.take()


def test_rows_that_are_appended(tmp_path: Path) -> None:
    """Each comes once, when the list is as it was at the look before; the start may be missing."""
    file = tmp_path / "a.jsonl"
    box = inbox(file)
    assert box.take() == Arrived()
    file.write_text("")
    assert settled(box) == Arrived()
    file.write_text(line("<a>", customer="Ada"))
    arrived = settled(box)
    assert tokens(arrived) == ["<a>"]
    assert arrived.configs[0].origin.columns == {"customer": "Ada"}
    assert arrived.notes == ["no settings, and kept for the manifest: customer"]
    assert box.take() == Arrived()
    with file.open("a") as opened:
        opened.write(line("<b>")[:10])
        opened.flush()
        assert box.take() == Arrived()
        opened.write(line("<b>")[10:] + line("<a>") + line("<c>", steps=0))
    arrived = settled(box)
    assert tokens(arrived) == ["<b>"]
    assert [str(each.problem) for each in arrived.refused] == [
        "two concepts are called 'a': give each its own token or name",
        "steps is 0; choose a number from 1 to 10000000",
    ]
    assert [each.record for each in arrived.refused] == ["a.jsonl,3", "a.jsonl,4"]


def test_lists_that_come_into_a_folder(tmp_path: Path) -> None:
    """Other files are left alone, and a list that cannot be read is told once."""
    box = inbox(tmp_path)
    assert box.take() == Arrived()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden.jsonl").write_text(line("<z>"))
    (tmp_path / "b.jsonl").write_text(line("<b>", images="pictures"))
    (tmp_path / "c.csv").write_text("name;token\n1;2\n")
    arrived = settled(box)
    assert tokens(arrived) == ["<b>"]
    assert arrived.configs[0].concept.images == (str(tmp_path / "pictures"),)
    (refused,) = arrived.refused
    assert "it needs one called token" in str(refused.problem)
    assert (refused.record, refused.output) == ("c.csv,0", "runs")
    (tmp_path / "a.yaml").write_text("- token: <a>\n")
    assert tokens(settled(box)) == ["<a>"]
    assert settled(box) == Arrived()


def test_a_folder_of_lists_at_once(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(line("<b>"))
    (tmp_path / "a.jsonl").write_text(line("<a>"))
    assert tokens(inbox(tmp_path, grows=False).take()) == ["<a>", "<b>"]
    (tmp_path / "c.jsonl").write_text("")
    with pytest.raises(BadInput, match="lists no concepts"):
        inbox(tmp_path, grows=False).take()
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"empty.* has no lists in it; give \.yaml"):
        inbox(tmp_path / "empty", grows=False).take()


def test_what_may_be_meant_as_a_setting_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line("<a>", stepz=5, learning_rate=3, order=1))
    (note,) = inbox(tmp_path / "a.jsonl", grows=False).take().notes
    assert note == (
        "no settings, and kept for the manifest: stepz (did you mean steps?), learning_rate (it is lr here), order"
    )


def test_what_all_have_in_common(tmp_path: Path) -> None:
    """It is checked before a row is there: rows name pictures, so a model is needed."""
    box = inbox(tmp_path, output="out", precision="bf16")
    assert (box.example.output, box.example.precision, box.example.model) == ("out", "bf16", "tiny-sd")
    with pytest.raises(BadInput, match="'stepz' is not a setting"):
        inbox(tmp_path, stepz=5).example  # noqa: B018
    with pytest.raises(BadInput, match="needs model, the Stable Diffusion model"):
        Inbox(str(tmp_path), {}, {}, grows=True).example  # noqa: B018
