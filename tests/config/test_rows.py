"""Rows of a list: what they may set, what they may read, and that a bad one is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.config.changed_settings import CHANGED
from ti_trainer.config.bundled import MY_CAT, sample_data
from ti_trainer.config.concept import MASK_MODES, TEMPLATE_NAMES
from ti_trainer.config.concept_lists import Row
from ti_trainer.config.config import TrainConfig
from ti_trainer.config.rows import PLACES, Owner, configs_of_rows
from ti_trainer.config.settings import marked, settings_of_run
from ti_trainer.config.together import Together
from ti_trainer.data.captions import TEMPLATES
from ti_trainer.errors import BadInput
from ti_trainer.files.reach import Reach

NEVER = {
    *marked("shared"),
    *("output", "resume", "retry_failed", "overwrite", "latent_cache", "report_to", "clip", "models_dir"),
    *("checkpoint_every", "save_every", "preview_every", "preview_seeds", "preview_width", "preview_height"),
    *("preview_steps", "guidance", "prompts", "negative_prompt", "plots"),
    *("description", "author", "license", "tags", "date", "thumbnail"),
}


def configs_of(
    *rows: dict[str, Any], folder: Path, values: dict[str, Any] | None = None, flags: dict[str, Any] | None = None
) -> tuple[list[TrainConfig], dict[str, Exception]]:
    listed = [Row(f"a.jsonl, line {number}", row) for number, row in enumerate(rows, 1)]
    owner = Owner({"model": "tiny-sd", **(values or {})}, flags or {}, folder, Reach.within([folder]))
    configs, refused = configs_of_rows(listed, owner, Together())
    return configs, {each.name: each.problem for each in refused}


def test_what_a_row_may_set() -> None:
    """A new setting is nobody's but the owner's until somebody says otherwise."""
    assert set(settings_of_run()) - set(marked("row")) == NEVER


@pytest.mark.parametrize("name", sorted(NEVER))
def test_what_only_the_owner_may_set(tmp_path: Path, name: str) -> None:
    """The row fails alone, and the message says how the owner may set it; flags and the config may."""
    value = CHANGED.get(name, "models" if name == "models_dir" else True)
    configs, problems = configs_of({"token": "<a>", name: value}, {"token": "<b>"}, folder=tmp_path)
    assert [config.concept.token for config in configs] == ["<b>"]
    assert list(problems) == ["a.jsonl, line 1 (<a>)"]
    (problem,) = problems.values()
    assert f"may not set {name}; give {name} for all, or put the concept under 'concepts:'" in str(problem)
    for by in ("values", "flags"):
        ((config,), none) = configs_of({"token": "<b>"}, folder=tmp_path, **{by: {name: value}})
        assert getattr(config, name) == value
        assert none == {}


def test_places_are_the_settings_that_name_files() -> None:
    assert PLACES.keys() == {"images", "class_images", "masks", "templates", "init"}
    assert set(PLACES) <= set(marked("row"))
    assert set(TEMPLATE_NAMES) == TEMPLATES.keys()
    assert [PLACES["masks"].path(value) for value in (*MASK_MODES, "m", None)] == [*[None] * len(MASK_MODES), "m", None]
    assert [PLACES["init"].path(value) for value in ("cat", "file:a", "auto", "file")] == [None, "a", None, None]


def test_paths_are_relative_to_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {
        "token": "<a>",
        "images": "a/b",
        "class_images": "file:///c",
        "masks": "alpha",
        "templates": "t.txt",
        "init": "file:e.pt",
    }
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, Path(".")):
        ((config,), _) = configs_of(row, folder=folder)
        concept = config.concept
        assert (concept.images, concept.class_images) == ((f"{tmp_path}/a/b",), "/c")
        assert (concept.masks, concept.templates, concept.init) == (
            "alpha",
            f"{tmp_path}/t.txt",
            f"file:{tmp_path}/e.pt",
        )
    ((config,), _) = configs_of({"token": "<a>", "images": "s3://b/x", "init": "a cat"}, folder=tmp_path)
    assert (config.concept.images, config.concept.init) == (("s3://b/x",), "a cat")


def test_what_the_owner_names_is_read_too(tmp_path: Path) -> None:
    """Of the row's own settings nothing is added: it reads in the list's folder only."""
    own = {"images": str(tmp_path / "own"), "templates": str(tmp_path / "own.txt"), "class_images": "s3://b/class"}
    folder = tmp_path / "lists"
    configs, _ = configs_of(
        {"token": "<a>"}, {"token": "<b>", "images": str(tmp_path / "theirs")}, folder=folder, values=own
    )
    a, b = (config.concept.reach for config in configs)
    assert a.roots is not None
    assert b.roots is not None
    assert set(a.roots) == {str(folder), *own.values()}
    assert set(b.roots) == {str(folder), own["templates"], own["class_images"]}
    ((config,), _) = configs_of({"token": "<c>"}, folder=folder)
    assert config.concept.reach.roots == (str(folder), str(sample_data(MY_CAT).resolve()))


def test_a_flag_comes_before_a_row(tmp_path: Path) -> None:
    ((config,), _) = configs_of(
        {"token": "<a>", "steps": 9_000_000, "images": "x"}, folder=tmp_path, flags={"steps": 4, "images": "y"}
    )
    assert (config.steps, config.concept.images) == (4, ("y",))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"token": "<b>", "steps": "six"}, "steps is 'six'; give a whole number"),
        ({"token": "<b>", "lr": "fast"}, "lr is 'fast'; give a number"),
        ({"token": "<b>", "name": "a"}, "two concepts are called 'a'"),
        ({"token": "<a_2>", "tune": False, "name": "x"}, None),  # the rows of <a> are called <a>_1
        ({"token": "a_1"}, "'a_1' could be a row of 'a'"),
        ({"token": "<b>", "images": "a\0b"}, r"images is '.*a\\x00b', which is no text"),
        ({"token": "<b>", "init": "\ud800"}, r"init is '\\ud800', which is no text"),
        ({"token": "<b>", "alpha_color": "#" * 4000}, None),  # no colour: it is seen when the pictures are read
        ({"token": "<b>", "optimizer": "bogus"}, "optimizer is 'bogus'"),
        ({"token": "<b>", "images": 5}, "images is 5; give text"),
        ({"token": "<b>", "name": "n" * 4000 + "/"}, r"name is 'n{120} \.\.\. n{119}/', which "),
        ({"token": "<b>", "name": "n" * 5000}, "name has 5,000 letters, and at most 4,096; shorten it"),
    ],
)
def test_a_bad_row_fails_alone(tmp_path: Path, row: dict[str, Any], message: str | None) -> None:
    configs, problems = configs_of({"token": "a"}, row, {"token": "<z>"}, folder=tmp_path)
    assert [config.concept.token for config in configs] == ["a", *([] if message else [row["token"]]), "<z>"]
    assert list(problems) == ([f"a.jsonl, line 2 ({row['token']})"] if message else [])
    for problem in problems.values():
        with pytest.raises(BadInput, match=str(message)):
            raise problem
        assert all(line.isprintable() for line in str(problem).split("\n"))
        assert len(str(problem)) < 600


def test_what_is_wrong_for_all_is_no_row_s(tmp_path: Path) -> None:
    for by, wrong in (("values", {"stepz": 4}), ("flags", {"steps": 0}), ("values", {"lr": "fast"})):
        with pytest.raises(BadInput):
            configs_of({"token": "<a>"}, {"token": "<b>"}, folder=tmp_path, **{by: wrong})


def test_each_of_several_paths_is_relative_to_the_list(tmp_path: Path) -> None:
    """Also of those that whoever trains names, each may be read."""
    ((config,), _) = configs_of({"token": "<a>", "images": ["x", "/y", "s3://b/z"]}, folder=tmp_path)
    assert config.concept.images == (f"{tmp_path}/x", "/y", "s3://b/z")
    own = {"images": [str(tmp_path / "one"), str(tmp_path / "two")]}
    ((config,), _) = configs_of({"token": "<a>"}, folder=tmp_path / "list", values=own)
    assert set(own["images"]) <= set(config.concept.reach.roots)
