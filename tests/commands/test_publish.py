"""The command that puts a run on the hub, against a stub of the hub's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_stub import TOKEN, Hub, stub_of_the_hub
from ti_trainer import Run
from ti_trainer.cli import main


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with stub_of_the_hub(monkeypatch) as stub:
        yield stub


def test_files_card_and_privacy(hub: Hub, finished_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A private model with the embedding and what its rows have drawn, and no more; the token is told to nobody."""
    folder = Path(finished_run.folder)
    assert main(["publish", str(folder), "--to", "me/my-cat"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"http://127.0.0.1:{hub.server_port}/me/my-cat  (private")
    model = hub.models["me/my-cat"]
    assert model["private"] is True
    names = {"README.md", "my-cat.safetensors", "my-cat.preview.png", "diffusers/learned_embeds.safetensors"}
    previews = {name for name in model["files"] if name.startswith("previews/")}
    assert model["files"].keys() - previews == names
    card = model["files"]["README.md"].decode()
    assert previews
    assert all(name in card for name in previews)
    assert "before_after.png" not in card
    assert all(content == (folder / name).read_bytes() for name, content in model["files"].items())
    assert str(folder.parent).encode() not in b"".join(model["files"].values())
    assert TOKEN not in said.out + said.err


def test_a_connection_that_is_lost(
    hub: Hub, finished_run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is sent, and in the middle: a line, and the same again with --update succeeds."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the hub's five tries
    folder = str(finished_run.folder)
    hub.lost = True
    assert main(["publish", folder, "--to", "me/cat"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("the run is as it was: try it again later")
    hub.lost = False
    assert main(["publish", folder, "--to", "me/cat", "--update"]) == 0
    assert "README.md" in hub.models["me/cat"]["files"]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    capsys.readouterr()
    assert main(["publish", folder, "--to", "me/other"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "me/other cannot be published: " in line


def test_what_would_be_sent(hub: Hub, finished_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", str(finished_run.folder), "--to", "me/cat", "--dry_run"]) == 0
    assert {"README.md", "my-cat.safetensors"} <= set(capsys.readouterr().out.split())
    assert hub.models == {}
