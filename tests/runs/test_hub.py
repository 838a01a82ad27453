"""What goes to the hub and what is refused, against a stub of its API."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_stub import Hub, stub_of_the_hub
from ti_trainer import BadInput, Run
from ti_trainer.runs.hub import files_to_publish, publish


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with stub_of_the_hub(monkeypatch) as stub:
        yield stub


def test_public_only_when_told(hub: Hub, finished_run: Run) -> None:
    publish(Path(finished_run.folder), "me/shown", public=True)
    assert hub.models["me/shown"]["private"] is False


def test_a_name_that_is_taken(hub: Hub, finished_run: Run) -> None:
    folder = Path(finished_run.folder)
    hub.models["me/taken"] = {"private": True, "files": {"notes.txt": b"mine"}}
    with pytest.raises(BadInput, match=r"me/taken cannot be published: the name is taken; .* with update=True"):
        publish(folder, "me/taken")
    assert hub.models["me/taken"]["files"] == {"notes.txt": b"mine"}
    publish(folder, "me/taken", public=True, update=True)
    assert hub.models["me/taken"]["files"].keys() == {"notes.txt", *files_to_publish(folder)}
    assert hub.models["me/taken"]["private"] is True


def test_what_is_refused(hub: Hub, finished_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each in one line: a name that is none, another's, a login that is wrong or missing, a run without pictures."""
    folder = Path(finished_run.folder)
    for name in ("my-cat", "me/my cat", "../me/cat", "me/cat/more"):
        with pytest.raises(BadInput, match=r"to='.*'; write OWNER/NAME|to is '.*'; write OWNER/NAME"):
            publish(folder, name)
    with pytest.raises(BadInput, match="you/cat cannot be published: the login may not write there"):
        publish(folder, "you/cat")
    with pytest.raises(BadInput, match=r"config\.yaml; give"):
        publish(tmp_path, "me/cat")
    plain = shutil.copytree(folder, tmp_path / "plain")
    (plain / "README.md").unlink()
    with pytest.raises(BadInput, match=r"has no README\.md; train it with plots=True"):
        publish(plain, "me/cat")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(BadInput, match="the token of the login is not known there; log in anew") as problem:
        publish(folder, "me/cat")
    assert "hf_wrong" not in str(problem.value)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(BadInput, match="there is no login for the hub"):
        publish(folder, "me/cat")
    assert hub.models == {}
