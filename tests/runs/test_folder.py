import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from ti_trainer.config.config import Concept, TrainConfig
from ti_trainer.config.settings import config_from_mapping, config_to_mapping, read_yaml
from ti_trainer.errors import BadInput
from ti_trainer.runs.checkpoints import Checkpoint
from ti_trainer.runs.folder import RunFolder
from ti_trainer.runs.resume import check_folder, finished, is_complete, resume_command

CAT, DOG = Concept("<cat>"), Concept("dog", tune=True)


def settings(tmp_path: Path, **changes) -> TrainConfig:
    return TrainConfig(**{"concept": CAT, "output": str(tmp_path / "runs"), **changes})


def started(tmp_path: Path, **changes) -> RunFolder:
    """The folder of a run that has begun."""
    folder = RunFolder(settings(tmp_path, **changes))
    assert folder.acquire()
    folder.create()
    folder.release()
    return folder


def checkpoint(step: int) -> Checkpoint:
    draws = torch.Generator().manual_seed(step)
    tensors = {
        "rows.clip_l": torch.randn(3, 5, generator=draws),
        "optimizer.0.step": torch.tensor(float(step)),
        "count": torch.tensor([2**40, -1]),
    }
    return Checkpoint(step, tensors, {"best": {"<cät>": [step, 0.1 + 0.2], "<x>": [0, float("inf")]}})


def test_layout(tmp_path: Path) -> None:
    one, two = RunFolder(settings(tmp_path)), RunFolder(settings(tmp_path, concept=DOG, name="other"))

    def places(folder: RunFolder) -> list[str]:
        paths = [
            folder.files.config,
            folder.files.metrics,
            folder.files.loss_plot,
            folder.files.before_after,
            folder.files.preview(100),
        ]
        paths += [folder.files.embedding, folder.files.diffusers_embedding(), folder.files.diffusers_embedding("_2")]
        return [str(path.relative_to(tmp_path / "runs")) for path in paths]

    same = ["config.yaml", "metrics.jsonl", "loss.png", "before_after.png", "previews/step-000100.png"]
    assert places(one) == [
        *(f"cat/{name}" for name in same),
        "cat/cat.safetensors",
        "cat/diffusers/learned_embeds.safetensors",
        "cat/diffusers/learned_embeds_2.safetensors",
    ]
    assert places(two) == [
        *(f"other/{name}" for name in same),
        "other/dog-tuned.safetensors",
        "other/diffusers/learned_embeds.safetensors",
        "other/diffusers/learned_embeds_2.safetensors",
    ]


def test_nothing_is_written_before_create(tmp_path: Path) -> None:
    folder = RunFolder(settings(tmp_path))
    check_folder(folder)
    assert folder.metrics.read() == []
    assert folder.checkpoints.steps() == []
    assert list(tmp_path.iterdir()) == []


def test_config_of_a_run_starts_the_same_run(tmp_path: Path) -> None:
    folder = started(tmp_path, concept=DOG, lr=1e-5, resolution=64, overwrite=True)
    found = config_from_mapping(read_yaml(str(folder.files.config)))
    assert found == settings(tmp_path, concept=DOG, lr=1e-5, resolution=64)
    assert [path.name for path in folder.path.iterdir() if path.name.startswith(".")] in ([], [".lock"])


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    folder = started(tmp_path)
    for step in (0, 9, 10, 1_000_000):
        folder.checkpoints.save(checkpoint(step))
    assert folder.checkpoints.steps() == [0, 9, 10, 1_000_000]
    found, expected = folder.checkpoints.load_last(), checkpoint(1_000_000)
    assert found.step == 1_000_000
    assert found.info == expected.info  # infinity and the last bit of 0.1 + 0.2 too
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)
    paths = sorted(folder.files.checkpoints.iterdir())
    assert [path.name for path in paths][:2] == ["step-000000.safetensors", "step-000009.safetensors"]
    again = started(tmp_path / "again")
    again.checkpoints.save(checkpoint(9))
    assert next(again.files.checkpoints.iterdir()).read_bytes() == paths[1].read_bytes()
    assert paths[1].stat().st_size < 1000


def test_unfinished_checkpoints_do_not_count(tmp_path: Path) -> None:
    folder = started(tmp_path)
    folder.checkpoints.save(checkpoint(3))
    for name in (".step-000004.safetensors.x1", "step-000005.safetensors.part", "step-x.safetensors", "notes.txt"):
        (folder.files.checkpoints / name).write_bytes(b"half")
    assert folder.checkpoints.steps() == [3]
    assert folder.checkpoints.load_last().step == 3


def test_dropping_later_checkpoints(tmp_path: Path) -> None:
    folder = started(tmp_path)
    for step in (1, 2, 3, 10):
        folder.checkpoints.save(checkpoint(step))
    folder.checkpoints.drop_after(2)
    assert folder.checkpoints.steps() == [1, 2]
    assert torch.equal(folder.checkpoints.load_last().tensors["rows.clip_l"], checkpoint(2).tensors["rows.clip_l"])


def test_metrics(tmp_path: Path) -> None:
    folder = started(tmp_path)
    records = [{"step": step, "token": "<cät>", "loss": step / 3} for step in range(1, 6)]
    folder.metrics.append(records[:2])
    folder.metrics.append(records[2:])
    assert folder.metrics.read() == records
    assert folder.metrics.read(last_step=3) == records[:3]
    lines = folder.files.metrics.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == records


def test_line_that_a_kill_cut_short(tmp_path: Path) -> None:
    folder = started(tmp_path)
    records = [{"step": step, "loss": 0.5} for step in range(1, 4)]
    folder.metrics.append(records)
    whole = folder.files.metrics.read_bytes()
    last_line = len(json.dumps(records[2])) + 1
    for missing in range(2, last_line + 1):
        folder.files.metrics.write_bytes(whole[:-missing])
        assert folder.metrics.read() == records[:2]
    folder.metrics.rewrite(folder.metrics.read())
    folder.metrics.append(records[2:])
    assert folder.files.metrics.read_bytes() == whole


def test_folder_that_holds_a_run(tmp_path: Path) -> None:
    folder = started(tmp_path)
    before = sorted(folder.path.rglob("*"))
    with pytest.raises(BadInput, match=r"--resume.*--overwrite.*--name") as refusal:
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


def test_resume_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no checkpoint to resume from; leave out --resume"):
        check_folder(RunFolder(settings(tmp_path, resume=True)))
    started(tmp_path)
    with pytest.raises(BadInput, match="holds no checkpoint to resume from"):
        check_folder(RunFolder(settings(tmp_path, resume=True)))


def test_resume_with_the_same_settings(tmp_path: Path) -> None:
    changes = {"lr": 1e-5, "max_grad_norm": 0.1 + 0.2, "resolution": 64, "concept": DOG}
    started(tmp_path, **changes).checkpoints.save(checkpoint(3))
    check_folder(RunFolder(settings(tmp_path, resume=True, **changes)))
    free = {"steps": 1000, "checkpoint_every": 7, "preview_every": 5, "tensorboard": True, "guidance": 1.0}
    free |= {"early_stop": 3, "log_every": 9, "micro_batch_size": 1, "plots": False, "latent_cache": "x"}
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
        ({"plots": False, "validate_every": 5}, "but validate_every was 20 and is 5. Use"),
        ({"flip": True, "clip_skip": 1}, "clip_skip was 0 and is 1; flip was False and is True"),
    ],
)
def test_resume_with_other_settings(tmp_path: Path, changes: dict, named: str) -> None:
    folder = started(tmp_path)
    folder.checkpoints.save(checkpoint(3))
    with pytest.raises(BadInput) as refusal:
        check_folder(RunFolder(settings(tmp_path, resume=True, **changes)))
    assert named in str(refusal.value)
    assert f"--config {folder.files.config} --resume" in str(refusal.value)


def test_resume_command_of_a_path_with_blanks(tmp_path: Path) -> None:
    command = resume_command(RunFolder(settings(tmp_path, output=str(tmp_path / "my runs"))))
    assert command.endswith(f"--config '{tmp_path}/my runs/cat/config.yaml' --resume")


def test_overwrite_leaves_nothing_of_the_old_run(tmp_path: Path) -> None:
    folder = started(tmp_path)
    folder.checkpoints.save(checkpoint(3))
    folder.metrics.append([{"step": 1}])
    (folder.path / "previews").mkdir()
    (folder.path / "previews" / "step-000100.png").write_bytes(b"old")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"mine")
    (folder.path / "link").symlink_to(elsewhere)
    started(tmp_path, overwrite=True, steps=77)
    assert {path.name for path in folder.path.iterdir()} - {".lock"} == {"config.yaml", "checkpoints"}
    assert list(folder.files.checkpoints.iterdir()) == []
    assert yaml.safe_load(folder.files.config.read_text(encoding="utf-8"))["steps"] == 77
    assert (elsewhere / "precious").read_bytes() == b"mine"


def test_overwrite_spares_a_folder_that_holds_no_run(tmp_path: Path) -> None:
    """`--output . --name src --overwrite` must not delete somebody's work."""
    (tmp_path / "runs" / "cat").mkdir(parents=True)
    (tmp_path / "runs" / "cat" / "thesis.tex").write_bytes(b"mine")
    folder = started(tmp_path, overwrite=True)
    assert (folder.path / "thesis.tex").read_bytes() == b"mine"
    assert folder.files.config.exists()


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_in_one_folder(tmp_path: Path) -> None:
    folder = RunFolder(settings(tmp_path))
    folder.path.mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, str(folder.path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert not folder.acquire()
        other.kill()  # -9: the lock goes with the process
    assert folder.acquire()
    folder.create()
    assert not RunFolder(folder.config).acquire()
    folder.release()
    assert RunFolder(folder.config).acquire()


def test_folder_in_which_nothing_was_made_is_removed(tmp_path: Path) -> None:
    folder = RunFolder(settings(tmp_path))
    assert folder.acquire()
    assert folder.path.exists()
    folder.release()
    assert not folder.path.exists()
    started(tmp_path)
    before = sorted(folder.path.rglob("*"))
    assert folder.acquire()
    folder.release()
    assert sorted(folder.path.rglob("*")) == before


def made(folder: RunFolder, content: bytes = b"rows") -> RunFolder:
    """A run with its last files."""
    folder.checkpoints.save(checkpoint(3))
    folder.metrics.append([{"step": 3, "loss": 0.5}])
    folder.files.embedding.write_bytes(content)
    folder.files.preview(2).parent.mkdir()
    folder.files.preview(2).write_bytes(b"png")
    return folder


FILES = ["cat.safetensors", "config.yaml", "metrics.jsonl", "previews/step-000002.png"]


def test_publishing_at_home(tmp_path: Path) -> None:
    """The files stay where they are, checkpoints too; the manifest's line has the config of the run."""
    folder = made(started(tmp_path))
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert (finished(folder), is_complete(folder)) == (None, False)
    folder.publish({"step": 3})
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before
    (line,) = (tmp_path / "runs" / "manifest" / "cat.json").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"step": 3, "config": config_to_mapping(folder.config)}
    assert finished(folder) == json.loads(line)
    assert is_complete(folder)
    assert is_complete(RunFolder(settings(tmp_path, resume=True)))
    assert not is_complete(RunFolder(settings(tmp_path, resume=True, steps=1000)))
    assert not is_complete(RunFolder(settings(tmp_path, overwrite=True)))
    started(tmp_path, overwrite=True)  # from its first moment there is no line of the old run
    assert finished(folder) is None


def test_publishing_behind_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but checkpoints and the lock arrives, and the local folder goes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "temporary"))
    output = f"file://{tmp_path}/far away"
    folder = made(started(tmp_path, output=output))
    assert folder.path.is_relative_to(tmp_path / "temporary")
    assert RunFolder(settings(tmp_path, output=output)).path == folder.path  # for whoever resumes it
    assert RunFolder(settings(tmp_path, output=output + "/2")).path != folder.path
    wanted = {name: (folder.path / name).read_bytes() for name in FILES}
    assert folder.acquire()
    folder.publish({"step": 3})
    folder.release()
    there = tmp_path / "far away"
    found = {path.relative_to(there).as_posix(): path.read_bytes() for path in there.rglob("*") if path.is_file()}
    assert json.loads(found.pop("manifest/cat.json")) == {"step": 3, "config": config_to_mapping(folder.config)}
    assert found == {f"cat/{name}": content for name, content in wanted.items()}
    assert not folder.path.exists()
    assert folder.place() == f"{output}/cat"
    assert folder.place(folder.files.embedding) == f"{output}/cat/cat.safetensors"


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
        with pytest.raises(BadInput, match=r"cat holds a run; add --resume to go on, --overwrite to delete it"):
            check_folder(RunFolder(settings(tmp_path, **where)), known)
        check_folder(RunFolder(settings(tmp_path, overwrite=True, **where)), known)
    check_folder(RunFolder(settings(tmp_path, resume=True, **where)), manifest)
    with pytest.raises(BadInput, match=r"lr was 0\.015 and is 0\.5"):
        check_folder(RunFolder(settings(tmp_path, resume=True, lr=0.5, **where)), manifest)
    with pytest.raises(BadInput, match=r"cat holds no checkpoint .* finished, and --overwrite"):
        check_folder(RunFolder(settings(tmp_path, resume=True, **where)))
    damaged = {"cat": {"config": "?"}}  # as if absent
    check_folder(RunFolder(settings(tmp_path, **where)), damaged)


def test_resuming_one_of_many_that_has_not_begun(tmp_path: Path) -> None:
    check_folder(RunFolder(settings(tmp_path, resume=True)), {})
    started(tmp_path)  # killed before its first checkpoint
    check_folder(RunFolder(settings(tmp_path, resume=True)), {})
    with pytest.raises(BadInput, match="holds a run"):
        check_folder(RunFolder(settings(tmp_path)), {})
