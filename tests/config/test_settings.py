"""Settings from mappings and YAML and back, and what follows from a field."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from tests.config.changed_settings import CHANGED
from ti_trainer.commands.flags import Parser, add_settings
from ti_trainer.config.concept import Concept
from ti_trainer.config.config import TrainConfig
from ti_trainer.config.fields import setting
from ti_trainer.config.settings import (
    config_from_mapping,
    config_to_mapping,
    configs_from_mapping,
    configs_to_yaml,
    field_documentation,
    marked,
    read_yaml,
)
from ti_trainer.config.together import check_together
from ti_trainer.errors import BadInput
from ti_trainer.files.wording import command_line
from ti_trainer.method.optimizers import OPTIMIZERS
from ti_trainer.runs.folder import RunFolder
from ti_trainer.runs.resume import check_same_run

CAT = Concept("<cat>")
LEARNED = Concept(
    "<my-cat>", images="../cät: pictures #1", init="file:a b.safetensors", num_vectors=3, templates="null"
)


@pytest.fixture(autouse=True)
def _another_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIMIZERS, "other", OPTIMIZERS["adamw"])


def test_yaml_round_trip() -> None:
    """Every field differs from its default, so that none is lost on the way."""
    config = TrainConfig(concept=LEARNED, **CHANGED)
    changed = [f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default]
    assert set(changed) == {f.name for f in dataclasses.fields(config)} - {
        *("resume", "overwrite", "models_dir", "retry_failed", "origin"),
    }
    text = configs_to_yaml([config])
    assert config_from_mapping(yaml.safe_load(text)) == config
    assert configs_from_mapping(yaml.safe_load(text)) == [config]
    assert configs_to_yaml([config_from_mapping(yaml.safe_load(text))]) == text


def test_yaml_round_trip_of_many() -> None:
    """What all have in common is said once, at the top; all else at each, in full where only one differs."""
    tuned = TrainConfig(concept=Concept("dog", images="no", tune=True), **{**CHANGED, "name": "tuned", "lr": 0.5})
    configs = [TrainConfig(concept=LEARNED, **CHANGED), tuned]
    text = configs_to_yaml(configs)
    values = yaml.safe_load(text)
    assert [sorted(own) for own in values["concepts"]] == [
        sorted(["token", "images", "init", "num_vectors", "templates", "tune", "name", "lr"])
    ] * 2
    assert set(values) - {"concepts"} == set(config_to_mapping(tuned)) - set(values["concepts"][0])
    assert configs_from_mapping(values) == configs
    assert configs_to_yaml(configs_from_mapping(values)) == text


def test_how_a_run_starts_is_not_part_of_its_settings() -> None:
    resumed = TrainConfig(concept=CAT, resume=True)
    assert config_from_mapping(config_to_mapping(resumed)) == TrainConfig(concept=CAT)
    assert config_to_mapping(TrainConfig(concept=CAT, overwrite=True)) == config_to_mapping(resumed)


@pytest.mark.parametrize("kind", [Concept, TrainConfig])
def test_every_field_is_documented(kind: type) -> None:
    documentation = field_documentation(kind)
    assert sorted(documentation) == sorted(field.name for field in dataclasses.fields(kind))
    assert all(text.endswith((".", ")")) and "  " not in text for text in documentation.values())


def test_documentation_is_that_of_its_own_field() -> None:
    assert field_documentation(TrainConfig)["steps"] == "Optimiser steps."
    assert field_documentation(Concept)["tune"].startswith("The token is a word that the model knows")


def test_keys_of_a_concept_hold_for_all_that_have_none_of_their_own() -> None:
    values = {"init": "cat", "lr": "1e-3", "concepts": [{"token": "<a>"}, {"token": "<b>", "init": "dog"}]}
    configs = configs_from_mapping(values)
    assert [config.concept.init for config in configs] == ["cat", "dog"]
    assert [config.lr for config in configs] == [1e-3, 1e-3]
    assert list(values) == ["init", "lr", "concepts"]  # the caller's own mapping is untouched
    assert config_from_mapping({"token": "<a>", "steps": 5}) == TrainConfig(concept=Concept("<a>"), steps=5)
    assert configs_from_mapping({"token": "<a>", "steps": 5}) == [TrainConfig(concept=Concept("<a>"), steps=5)]


def test_a_concept_may_have_any_setting_and_flags_override_all() -> None:
    values = {
        "lr": 0.1,
        "steps": 7,
        "concepts": [
            {"token": "<a>", "lr": 0.2, "buckets": True, "name": "first"},
            {"token": "<b>", "steps": 9, "num_vectors": 2},
        ],
    }
    a = TrainConfig(concept=Concept("<a>"), lr=0.2, steps=7, buckets=True, name="first")
    b = TrainConfig(concept=Concept("<b>", num_vectors=2), lr=0.1, steps=9)
    assert configs_from_mapping(values) == [a, b]
    found = configs_from_mapping(values, {"lr": 0.3, "steps": 3, "num_vectors": 5})
    assert [(config.lr, config.steps, config.concept.num_vectors) for config in found] == [(0.3, 3, 5)] * 2
    assert [config.buckets for config in found] == [True, False]
    assert configs_from_mapping({"token": "<a>", "lr": 0.1}, {"lr": 0.3}) == [
        TrainConfig(concept=Concept("<a>"), lr=0.3)
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"token": "<a>", "learning_rat": 1}, "'learning_rat' is not a setting"),
        ({"token": "<a>", "batchsize": 1}, "did you mean batch_size"),
        ({"token": "<a>", "num_vector": 1}, "did you mean num_vectors"),
        ({"concepts": [{"token": "<a>", "imags": "x"}]}, "did you mean images"),
        ({"concepts": [{"token": "<a>", "concepts": []}]}, "'concepts' is not a setting"),
        ({"concepts": [{"token": "<a>"}, {"init": "cat"}]}, "there is no token"),
        ({"concepts": [{"token": "<a>"}, {"token": "<b>", "steps": "few"}]}, "concept 2 of 2: steps is 'few'"),
        ({"token": "<a>", "gradient_accumulation": 2}, "'gradient_accumulation' is not a setting"),
        ({"token": "<a>", "plots": "no"}, "plots is 'no'; give true or false"),
        ({"token": "<a>", "early_stop": None}, "early_stop is None; give a whole number"),
        ({"token": "<a>", "micro_batch_size": 2.0}, "micro_batch_size is 2.0; give a whole number"),
        ({"token": "<a>", "log_every": "often"}, "log_every is 'often'; give a whole number"),
        ({"token": "<a>", "gradient_checkpointing": "auto"}, "give true or false"),
        ({"token": "<a>", 5: 6}, "'5' is not a setting"),
        ({"token": "<a>", "steps": "many"}, "steps is 'many'; give a whole number"),
        ({"token": "<a>", "steps": 2.0}, "give a whole number"),
        ({"token": "<a>", "steps": True}, "give a whole number"),
        ({"token": "<a>", "steps": None}, "give a whole number"),
        ({"token": "<a>", "lr": True}, "give a number"),
        ({"token": "<a>", "lr": "fast"}, "give a number"),
        ({"token": "<a>", "lr": [1]}, "give a number"),
        ({"token": "<a>", "lr": 10**400}, "give a number"),
        ({"token": "<a>", "flip": 1}, "give true or false"),
        ({"token": "<a>", "flip": "yes"}, "give true or false"),
        ({"token": "<a>", "output": 7}, "give text"),
        ({"token": 7}, "token is 7; give text"),
        ({"token": "<a>", "num_vectors": "2"}, "give a whole number"),
        ({"steps": 5}, "there is no token"),
        ({}, "there is no token"),
        ({"concepts": ["<a>"]}, "is not a mapping"),
        ({"concepts": 5}, "is not a list"),
        ({"concepts": {"token": "<a>"}}, "is not a list"),
        ({"concepts": "<a>"}, "is not a list"),
        ({"concepts": []}, "is not a list"),
    ],
)
def test_settings_that_are_refused(values: dict, message: str) -> None:
    with pytest.raises(BadInput, match=r"^[^\n]*$") as refusal:
        configs_from_mapping(values)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "holds no settings"),
        (b"- a\n- b\n", "holds no settings"),
        (b"steps: [1\n", "is not YAML"),
        (b"steps: \xff\xfe\n", "cannot be read as UTF-8 text"),
        (b"x: !!python/object/apply:os.system ['true']\n", "line 1 has the tag '!!python/"),
    ],
)
def test_yaml_that_cannot_be_read(tmp_path, content: bytes | None, message: str) -> None:
    path = tmp_path / "run.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=r"^[^\n]*$") as refusal:
        read_yaml(str(path))
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_numbers_as_yaml_writes_them(tmp_path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("token: <a>\nlr: 5e-3\nguidance: 5\nseed: 1_000\n", encoding="utf-8")
    config = config_from_mapping(read_yaml(str(path)))
    assert (config.lr, config.guidance, config.seed) == (0.005, 5.0, 1000)
    assert type(config.guidance) is float


@dataclasses.dataclass(frozen=True)
class Extended(TrainConfig):
    """A run with one more setting, which is said in one place."""

    sharpness: float = setting(0.5, low=0, high=2, free_on_resume=True, exported=True, shared=True, group="sharpness")
    """How sharp the pictures are made."""


def test_one_field_is_the_whole_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its flag, YAML key, range, rule on resume, place in the exported metadata and rule for many follow from it."""
    parser = Parser(prog="program")
    add_settings(parser, Extended)
    assert "--sharpness FLOAT" in parser.format_help()
    assert "How sharp the pictures are made. (default: 0.5)" in " ".join(parser.format_help().split())
    flags = vars(parser.parse_args(["--sharpness", "1.5"]))
    with pytest.raises(SystemExit):
        parser.parse_args(["--sharpness", "3"])
    assert "--sharpness is 3.0; choose a number from 0 to 2" in capsys.readouterr().err

    (tmp_path / "run.yaml").write_text("token: <a>\nsharpness: 1\n", encoding="utf-8")
    config = config_from_mapping(read_yaml(str(tmp_path / "run.yaml")), kind=Extended)
    assert config == Extended(concept=Concept("<a>"), sharpness=1.0)
    assert config_from_mapping({"token": "<a>", "sharpness": 1}, flags, Extended) == dataclasses.replace(
        config, sharpness=1.5
    )
    assert yaml.safe_load(configs_to_yaml([config]))["sharpness"] == 1.0
    with pytest.raises(BadInput, match="did you mean sharpness"):
        config_from_mapping({"token": "<a>", "sharpnes": 1}, kind=Extended)
    with pytest.raises(BadInput, match=r"^sharpness is 3\.0; choose a number from 0 to 2$"):
        dataclasses.replace(config, sharpness=3)

    for mark in ("free_on_resume", "exported", "shared"):
        assert set(marked(mark, Extended)) - set(marked(mark)) == {"sharpness"}
    saved = RunFolder(dataclasses.replace(config, output=str(tmp_path)))
    saved.path.mkdir()
    saved.files.config.write_text(configs_to_yaml([saved.config]), encoding="utf-8")
    resumed = dataclasses.replace(saved.config, sharpness=0.1, resume=True)
    check_same_run(RunFolder(resumed), None)
    with pytest.raises(BadInput, match="seed was 0 and is 1"):
        check_same_run(RunFolder(dataclasses.replace(resumed, seed=1)), None)
    with pytest.raises(BadInput, match=r"sharpness is 1\.0 for <a> and 0\.5 for <b>"):
        check_together([config, Extended(concept=Concept("<b>"))])


MARKED = {
    "free_on_resume": [
        *("steps", "early_stop", "log_every", "micro_batch_size", "plots", "checkpoint_every", "latent_cache"),
        *("preview_every", "preview_steps", "guidance", "report_to", "output", "name", "save_every", "prompts"),
        *("negative_prompt", "preview_seeds", "preview_width", "preview_height"),
        *("description", "author", "license", "tags", "date", "thumbnail"),
    ],
    "exported": [
        *("steps", "batch_size", "lr", "lr_schedule", "warmup_steps", "optimizer", "weight_decay", "max_grad_norm"),
        *("weighting", "gamma", "timesteps", "resolution", "buckets", "crop", "crops", "flip", "mask_background"),
        *("clip_skip", "train_slots", "quantize", "long_captions", "seed"),
    ],
    "start": ["resume", "retry_failed", "overwrite", "models_dir"],
    "training_only": ["lean_unet", "gradient_checkpointing", "models_dir"],
    "for_dataset": [
        *("model", "revision", "cache_dir", "offline", "model_config", "long_captions", "resolution", "buckets"),
        *("crop", "crops", "mask_background", "seed"),
    ],
}


@pytest.mark.parametrize("mark", MARKED)
def test_marks(mark: str) -> None:
    """A mark that is lost or added by mistake changes what a resumed run may do, or what a file tells of its maker."""
    assert sorted(marked(mark)) == sorted(MARKED[mark])


def test_no_path_is_exported() -> None:
    paths = {"images", "class_images", "masks", "output", "cache_dir", "latent_cache", "model", "model_config", "name"}
    assert not paths & set(marked("exported"))


def test_names_of_settings_are_those_of_their_source(tmp_path: Path) -> None:
    """On the command line a flag is called as a flag, and what a file says as in the file."""
    with command_line():
        with pytest.raises(BadInput, match=r"^steps is 0; choose a number"):
            config_from_mapping({"token": "<a>", "steps": 0}, {"lr": 0.1})
        with pytest.raises(BadInput, match=r"^--steps is 0; choose a number"):
            config_from_mapping({"token": "<a>", "steps": 5}, {"steps": 0})
        with pytest.raises(BadInput, match=r"^tune: true trains .*: leave out --init and --num_vectors$"):
            config_from_mapping({"token": "cat", "tune": True}, {"init": "dog"})
        with pytest.raises(BadInput, match=r"^concept 2 of 2: token is 'A B'"):
            configs_from_mapping({"concepts": [{"token": "<a>"}, {"token": "A B"}]})
        with pytest.raises(BadInput, match=r'^there is no token to learn: add --token "<my-cat>"$'):
            config_from_mapping({})
        with pytest.raises(BadInput, match=f"^--config {tmp_path}/x.yaml cannot be read"):
            read_yaml(str(tmp_path / "x.yaml"))
    with pytest.raises(BadInput, match=r'^there is no token to learn: add token="<my-cat>"$'):
        config_from_mapping({})
    with pytest.raises(BadInput, match=r"^token is 'A B'"):
        Concept("A B")
