"""Whether a run may begin, go on, or is finished."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.run_folders import DOG, checkpoint, made, settings, started
from ti_trainer.config.concept import Concept
from ti_trainer.config.config import TrainConfig
from ti_trainer.errors import BadInput
from ti_trainer.runs.folder import RunFolder
from ti_trainer.runs.resume import check_folder, check_locked, with_found_words


def test_folder_that_holds_a_run(tmp_path: Path) -> None:
    folder = started(tmp_path)
    folder.checkpoints.save(checkpoint(0))
    before = sorted(folder.path.rglob("*"))
    with pytest.raises(BadInput, match=r"resume=True.*overwrite=True.*name") as refusal:
        check_folder(RunFolder(settings(tmp_path)))
    assert str(folder.path) in str(refusal.value)
    assert sorted(folder.path.rglob("*")) == before
    check_folder(RunFolder(settings(tmp_path, overwrite=True)))
    check_folder(RunFolder(settings(tmp_path, name="other")))


def test_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "cat").write_text("mine", encoding="utf-8")
    for start in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(BadInput, match="is a file; choose another"):
            check_folder(RunFolder(settings(tmp_path, **start)))


def test_a_folder_without_a_checkpoint_is_one_to_begin_in(tmp_path: Path) -> None:
    """Whatever is asked: a kill before the first checkpoint leaves nothing that could be lost."""
    starts: list[dict] = [{}, {"resume": True}, {"overwrite": True}, {"lr": 0.5}, {"lr": 0.5, "resume": True}]
    for start in starts:
        check_folder(RunFolder(settings(tmp_path, **start)))
    folder = started(tmp_path)
    folder.metrics.rewrite([])
    for start in starts:
        check_folder(RunFolder(settings(tmp_path, **start)))
    folder.files.embedding.write_bytes(b"learned")  # somebody has deleted the checkpoints
    with pytest.raises(BadInput, match="holds an embedding but no checkpoint to resume from; overwrite=True"):
        check_folder(RunFolder(settings(tmp_path, resume=True)))
    with pytest.raises(BadInput, match="holds a run"):
        check_folder(RunFolder(settings(tmp_path)))


def test_resume_with_the_same_settings(tmp_path: Path) -> None:
    changes = {"lr": 1e-5, "max_grad_norm": 0.1 + 0.2, "resolution": 64, "concept": DOG}
    started(tmp_path, **changes).checkpoints.save(checkpoint(3))
    check_folder(RunFolder(settings(tmp_path, resume=True, **changes)))
    free = {"steps": 1000, "checkpoint_every": 7, "preview_every": 5, "report_to": ("tensorboard",), "guidance": 1.0}
    free |= {"early_stop": 3, "log_every": 9, "micro_batch_size": 1, "latent_cache": "x"}
    check_folder(RunFolder(settings(tmp_path, resume=True, **changes, **free)))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lr": 1e-3}, f"lr was {TrainConfig.lr} and is 0.001"),
        ({"seed": 7}, "seed was 0 and is 7"),
        ({"batch_size": 4}, "batch_size was 8 and is 4"),
        ({"model": "owner/other"}, "model was tiny-sd and is owner/other"),
        ({"resolution": 32}, "resolution was None and is 32"),
        ({"concept": Concept("<cat>", init="dog")}, "init was auto and is dog"),
        ({"validate_every": 5}, "but validate_every was 10 and is 5. Its own"),
        ({"flip": True, "clip_skip": 1}, "clip_skip was 0 and is 1; flip was False and is True"),
    ],
)
def test_resume_with_other_settings(tmp_path: Path, changes: dict, named: str) -> None:
    folder = started(tmp_path)
    folder.checkpoints.save(checkpoint(3))
    with pytest.raises(BadInput) as refusal:
        check_folder(RunFolder(settings(tmp_path, resume=True, **changes)))
    assert named in str(refusal.value)
    assert f"Its own are in {folder.files.config}; to go on with them: the same call with resume=True" in str(
        refusal.value
    )


def test_steps_that_are_taken_stay_taken(tmp_path: Path) -> None:
    """A run at step 3 does not end at step 2; at 3 it may."""
    made(started(tmp_path))
    with pytest.raises(BadInput, match=r"^steps=2 is before step 3, which the run has reached; give steps=3 or more"):
        check_folder(RunFolder(settings(tmp_path, resume=True, steps=2)))
    check_folder(RunFolder(settings(tmp_path, resume=True, steps=3)))


@pytest.mark.parametrize("remote", [False, True])
def test_what_is_published_is_not_done_again_by_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    """Also where only the manifest knows: the folder is elsewhere, or its files have been moved away."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "temporary"))
    where = {"output": f"file://{tmp_path}/far"} if remote else {}
    folder = made(started(tmp_path, **where))
    folder.publish({})
    if not remote:
        shutil.rmtree(folder.path)
    manifest = folder.storage.published()
    for known in (None, manifest):
        with pytest.raises(BadInput, match=r"cat holds a run; add resume=True to go on, overwrite=True to delete it"):
            check_folder(RunFolder(settings(tmp_path, **where)), known)
        check_folder(RunFolder(settings(tmp_path, overwrite=True, **where)), known)
    check_folder(RunFolder(settings(tmp_path, resume=True, **where)), manifest)
    with pytest.raises(BadInput, match=r"lr was 0\.1 and is 0\.5"):
        check_folder(RunFolder(settings(tmp_path, resume=True, lr=0.5, **where)), manifest)
    check_folder(RunFolder(settings(tmp_path, resume=True, **where)))  # there is nothing left to do
    with pytest.raises(BadInput, match=r"cat holds no checkpoint .* finished, and overwrite=True"):
        check_folder(RunFolder(settings(tmp_path, resume=True, steps=1000, **where)))
    damaged = {"cat": {"config": "?"}}  # as if absent
    check_folder(RunFolder(settings(tmp_path, **where)), damaged)


def test_resuming_one_of_many_that_has_not_begun(tmp_path: Path) -> None:
    check_folder(RunFolder(settings(tmp_path, resume=True)), {})
    started(tmp_path)  # killed before its first checkpoint
    check_folder(RunFolder(settings(tmp_path, resume=True)), {})
    check_folder(RunFolder(settings(tmp_path)), {})


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"- token", b"steps: 3\n", b"{", b"token: [\n"])
def test_settings_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """A run of which nobody knows what it was asked for is not gone on with."""
    folder = started(tmp_path)
    folder.checkpoints.save(checkpoint(3))
    folder.files.config.unlink()
    if content is not None:
        folder.files.config.write_bytes(content)
    with pytest.raises(BadInput, match=r"config\.yaml is missing or damaged.*overwrite=True"):
        check_folder(RunFolder(settings(tmp_path, resume=True)))
    check_folder(RunFolder(settings(tmp_path, overwrite=True)))


def test_what_is_checked_under_the_lock(tmp_path: Path) -> None:
    """Between the first check and the lock another process has begun a run of other settings here."""
    folder = RunFolder(settings(tmp_path, lr=0.5, resume=True))
    check_folder(folder)
    started(tmp_path).checkpoints.save(checkpoint(3))
    for is_list in (False, True):
        with pytest.raises(BadInput, match=r"lr was 0\.1 and is 0\.5"):
            check_locked(folder, None, is_list)
    same = RunFolder(settings(tmp_path))
    check_locked(same, None, is_list=True)  # another process of the job, which has been killed
    with pytest.raises(BadInput, match="holds a run"):
        check_locked(same, None, is_list=False)


def test_links_and_files_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"runs is a link to .*nowhere, which is not there"):
        check_folder(RunFolder(settings(tmp_path)))
    (tmp_path / "nowhere").write_bytes(b"mine")
    with pytest.raises(BadInput, match="is a file and no folder; choose another output"):
        check_folder(RunFolder(settings(tmp_path)))


def test_words_that_were_found_when_the_run_began(tmp_path: Path) -> None:
    """A resumed run that is asked to find its words has those of its config.yaml, or of the manifest; others search."""
    asked = settings(tmp_path, concept=Concept("<cat>", init="auto"))
    resumed = replace(asked, resume=True)
    assert with_found_words(resumed) == resumed
    started(tmp_path, concept=Concept("<cat>", init="orange cat"))
    assert with_found_words(asked) == asked
    assert with_found_words(resumed).concept == Concept("<cat>", init="orange cat")
    assert with_found_words(replace(resumed, concept=Concept("<cat>", init="dog"))).concept.init == "dog"
    manifest = {"cat": {"config": {"init": "striped cat"}}}
    assert with_found_words(resumed, manifest).concept.init == "striped cat"
