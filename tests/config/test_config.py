import dataclasses
from typing import Any

import pytest
import yaml

from ti_trainer.config.config import Concept, TrainConfig
from ti_trainer.config.settings import (
    config_from_mapping,
    config_to_mapping,
    configs_from_mapping,
    configs_to_yaml,
    field_documentation,
    read_yaml,
)
from ti_trainer.config.together import SHARED, check_together
from ti_trainer.errors import BadInput

CAT = Concept("<cat>")
LEARNED = Concept(
    "<my-cat>", images="../cät: pictures #1", init="file:a b.safetensors", num_vectors=3, templates="null"
)
# every setting of TrainConfig but those that say how to start, with another value than its default
CHANGED: dict[str, Any] = {
    "model": "owner/name",
    "revision": "1.0",
    "variant": "no",
    "cache_dir": "~",
    "offline": True,
    "model_config": "null",
    "allow_pickle": True,
    "prediction_type": "v_prediction",
    "zero_terminal_snr": False,
    "long_captions": "chunk",
    "gradient_checkpointing": True,
    "lean_unet": False,
    "output": "[runs]",
    "name": "123",
    "steps": 1_000_000,
    "batch_size": 3,
    "micro_batch_size": 2,
    "lr": 1e-5,
    "lr_schedule": "piecewise:100=0.5,200=0.1",
    "warmup_steps": 0,
    "optimizer": "other",
    "weight_decay": 1e-30,
    "max_grad_norm": 0.1 + 0.2,
    "weighting": "min_snr",
    "resolution": 512,
    "flip": True,
    "gamma": 3.0,
    "timesteps": "range:0.5-1",
    "buckets": True,
    "crop": "random",
    "crops": 3,
    "mask_background": 0.5,
    "latent_cache": "some/cache",
    "skip_bad_images": True,
    "clip_skip": 1,
    "precision": "fp16",
    "seed": 2**63 - 1,
    "validate_every": 0,
    "validation_samples": 7,
    "checkpoint_every": 11,
    "preview_every": 13,
    "preview_steps": 17,
    "guidance": 7.5,
    "tensorboard": True,
    "early_stop": 5,
    "log_every": 6,
    "plots": False,
}


@pytest.mark.parametrize("token", ["<my-cat>", "<cat_2>", "blorp", "<a>", "<3d>"])
def test_tokens_that_are_allowed(token: str) -> None:
    assert Concept(token).trigger == token
    assert Concept(token).stem == token.removeprefix("<").removesuffix(">")


@pytest.mark.parametrize(
    ("token", "cure"),
    [
        ("", "<my-cat>"),
        ("<>", "<my-cat>"),
        ("<../../x>", "<x>"),
        ("<My-Cat>", "<my-cat>"),
        ("a b", "<a-b>"),
        (".x", "<x>"),
        ("<cat", "<cat>"),
        ("cat>", "<cat>"),
        ("<<cat>>", "<cat>"),
        ("<c/t>", "<c-t>"),
        ("<c\\t>", "<c-t>"),
        ("<cat>\n", "<cat>"),
        ("<cät>", "<c-t>"),
        ("[cat]", "<cat>"),
        ("<...>", "<my-cat>"),
    ],
)
def test_tokens_that_are_refused(token: str, cure: str) -> None:
    with pytest.raises(BadInput) as refusal:
        Concept(token)
    assert f"'{token}'" in str(refusal.value)
    assert f"'{cure}'" in str(refusal.value)
    assert Concept(cure).token == cure  # the cure that is offered is one


def test_tuned_word() -> None:
    assert (Concept("cat", tune=True).trigger, Concept("cat", tune=True).stem) == ("<cat-tuned>", "cat-tuned")
    assert Concept("<cat>", tune=True).stem == "cat-tuned"
    for extra in ({"num_vectors": 2}, {"init": "dog"}):
        with pytest.raises(BadInput, match="leave out --init and --num_vectors"):
            Concept("cat", tune=True, **extra)


def together(*tokens: str, **settings: Any) -> list[TrainConfig]:
    return [TrainConfig(concept=Concept(token), **settings) for token in tokens]


@pytest.mark.parametrize(
    ("tokens", "named"),
    [
        (["<foo>", "<foo>"], "two concepts are called 'foo': give each its own token or name"),
        (["<foo>", "foo"], "two concepts are called 'foo'"),  # one file name
        (["foo", "<bar>", "foo_12"], "'foo_12' could be a row of 'foo'"),
        (["foo_1", "<bar>", "foo"], "'foo_1' could be a row of 'foo'"),
        (["cat", "cat_1"], "'cat_1' could be a row of 'cat': choose names that differ by more than a number"),
    ],
)
def test_collisions(tokens: list[str], named: str) -> None:
    with pytest.raises(BadInput) as refusal:
        check_together(together(*tokens))
    assert named in str(refusal.value)


@pytest.mark.parametrize(
    "tokens",
    [
        ["<cat>"],
        ["<cat>", "<cat-1>"],
        ["cat", "cat-1"],
        ["<foo>", "<foo_one>"],
        ["<foo1>", "<foo2>"],
        ["<foo>", "<foo_1_x>"],
        ["<1>", "<a>"],
        ["<foo>", "<foo_1>"],  # the second row of <foo> is <foo>_1
        ["<foo>", "<foo1>"],
        ["<a-1>", "<a-12>"],
        ["foo_1", "foo_2"],
    ],
)
def test_names_that_do_not_collide(tokens: list[str]) -> None:
    check_together(together(*tokens))


def test_one_token_twice_needs_two_names() -> None:
    first, second = together("<cat>", "<cat>")
    check_together([first, dataclasses.replace(second, name="other")])
    check_together([first, dataclasses.replace(second, output="elsewhere")])
    with pytest.raises(BadInput, match="two concepts are called 'other'"):
        check_together([dataclasses.replace(config, name="other") for config in together("<cat>", "<dog>")])
    with pytest.raises(BadInput, match="two concepts are called 'cat'"):
        check_together([first, dataclasses.replace(together("<dog>")[0], name="cat")])


def test_tuned_word_collides_with_its_new_name() -> None:
    tuned, new = TrainConfig(concept=Concept("cat", tune=True)), TrainConfig(concept=Concept("<cat-tuned>"))
    with pytest.raises(BadInput, match="cat-tuned"):
        check_together([tuned, new])
    check_together([tuned, *together("<cat>")])


# every setting that the model and the batch depend on: the two values that differ, and how the message shows them
SHARED_SETTINGS: dict[str, tuple[Any, Any]] = {
    "model": ("tiny-sd", "owner/other"),
    "revision": (None, "1.0"),
    "variant": (None, "fp16"),
    "cache_dir": (None, "here"),
    "offline": (False, True),
    "model_config": (None, "there"),
    "allow_pickle": (False, True),
    "prediction_type": (None, "epsilon"),
    "zero_terminal_snr": (None, True),
    "clip_skip": (0, 1),
    "long_captions": ("truncate", "chunk"),
    "gradient_checkpointing": (None, False),
    "lean_unet": (True, False),
    "precision": ("fp32", "bf16"),
    "micro_batch_size": (None, 4),
    "log_every": (1, 10),
}


@pytest.mark.parametrize("name", SHARED_SETTINGS)
def test_what_concepts_must_have_in_common(name: str) -> None:
    first, second = SHARED_SETTINGS[name]
    (cat,), (dog,) = together("<cat>", **{name: first}), together("<dog>", **{name: second})
    with pytest.raises(BadInput) as refusal:
        check_together([cat, dog])
    assert f"{name} is {first!r} for <cat> and {second!r} for <dog>" in str(refusal.value)
    check_together(together("<cat>", "<dog>", **{name: second}))


def test_what_concepts_may_have_of_their_own() -> None:
    """Every other setting; none is forgotten in either list."""
    assert set(SHARED) == set(SHARED_SETTINGS)
    (cat,) = together("<cat>")
    for name in set(CHANGED) - set(SHARED):
        (dog,) = together("<dog>", **{name: CHANGED[name]})
        check_together([cat, dog])


def test_yaml_round_trip() -> None:
    """Every field differs from its default, so that none is lost on the way."""
    config = TrainConfig(concept=LEARNED, **CHANGED)
    changed = [f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default]
    assert set(changed) == {f.name for f in dataclasses.fields(config)} - {"resume", "overwrite"}
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
    assert configs_from_mapping({"token": "<a>", "lr": 0.1}, {"lr": 0.3}) == together("<a>", lr=0.3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"token": "<a>", "learning_rat": 1}, "'learning_rat' is not a setting"),
        ({"token": "<a>", "batchsize": 1}, "did you mean 'batch_size'"),
        ({"token": "<a>", "num_vector": 1}, "did you mean 'num_vectors'"),
        ({"concepts": [{"token": "<a>", "imags": "x"}]}, "did you mean 'images'"),
        ({"concepts": [{"token": "<a>", "concepts": []}]}, "'concepts' is not a setting"),
        ({"concepts": [{"token": "<a>"}, {"init": "cat"}]}, "there is no token"),
        ({"concepts": [{"token": "<a>"}, {"token": "<b>", "steps": "few"}]}, "'steps' is 'few'"),
        ({"token": "<a>", "gradient_accumulation": 2}, "'gradient_accumulation' is not a setting"),
        ({"token": "<a>", "plots": "no"}, "'plots' is 'no', which is not of type bool"),
        ({"token": "<a>", "early_stop": None}, "'early_stop' is None, which is not of type int"),
        ({"token": "<a>", "micro_batch_size": 2.0}, "'micro_batch_size' is 2.0, which is not of type int"),
        ({"token": "<a>", "log_every": "often"}, "'log_every' is 'often', which is not of type int"),
        ({"token": "<a>", "gradient_checkpointing": "auto"}, "which is not of type bool"),
        ({"token": "<a>", 5: 6}, "'5' is not a setting"),
        ({"token": "<a>", "steps": "many"}, "'steps' is 'many', which is not of type int"),
        ({"token": "<a>", "steps": 2.0}, "not of type int"),
        ({"token": "<a>", "steps": True}, "not of type int"),
        ({"token": "<a>", "steps": None}, "not of type int"),
        ({"token": "<a>", "lr": True}, "not of type float"),
        ({"token": "<a>", "lr": "fast"}, "not of type float"),
        ({"token": "<a>", "lr": [1]}, "not of type float"),
        ({"token": "<a>", "lr": 10**400}, "not of type float"),
        ({"token": "<a>", "flip": 1}, "not of type bool"),
        ({"token": "<a>", "flip": "yes"}, "not of type bool"),
        ({"token": "<a>", "output": 7}, "not of type str"),
        ({"token": 7}, "'token' is 7"),
        ({"token": "<a>", "num_vectors": "2"}, "not of type int"),
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
    ("field", "value"),
    [
        ("lr", float("nan")),
        ("lr", "nan"),
        ("lr", float("inf")),
        ("lr", -1e-3),
        ("steps", 0),
        ("steps", -5),
        ("steps", 10**400),
        ("batch_size", 0),
        ("micro_batch_size", 0),
        ("micro_batch_size", -1),
        ("early_stop", -1),
        ("log_every", 0),
        ("log_every", -10),
        ("warmup_steps", -1),
        ("weight_decay", 1.5),
        ("max_grad_norm", -1.0),
        ("resolution", 0),
        ("clip_skip", -1),
        ("validate_every", -1),
        ("validation_samples", 0),
        ("checkpoint_every", 0),
        ("preview_every", -1),
        ("preview_steps", 0),
        ("guidance", -1.0),
        ("seed", -1),
        ("seed", 2**63),
        ("gamma", 0.0),
        ("crops", 0),
        ("mask_background", 1.1),
        ("mask_background", -0.1),
        ("num_vectors", 0),
        ("num_vectors", 76),
        ("precision", "fp8"),
        ("captions", "booru"),
        ("keep_tags", -1),
        ("tag_dropout", 1.5),
        ("caption_dropout", -0.1),
        ("class_weight", -1.0),
        ("name", "../x"),
        ("name", ""),
        ("name", ".hidden"),
        ("name", "a/b"),
    ],
)
def test_values_out_of_range(field: str, value: object) -> None:
    with pytest.raises(BadInput) as refusal:
        config_from_mapping({"token": "<a>", field: value})
    assert f"--{field} is " in str(refusal.value)
    assert str(value) in str(refusal.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lr", 0.0),
        ("steps", 1),
        ("num_vectors", 75),
        ("seed", 2**63 - 1),
        ("name", "a.b-c_1"),
        ("micro_batch_size", 1),
        ("micro_batch_size", None),
        ("early_stop", 0),
        ("log_every", 1),
        ("log_every", None),
        ("plots", False),
        ("gradient_checkpointing", False),
        ("gradient_checkpointing", None),
    ],
)
def test_values_at_the_edge(field: str, value: object) -> None:
    config = config_from_mapping({"token": "<a>", field: value})
    assert getattr(config.concept if field == "num_vectors" else config, field) == value


def test_both_starts() -> None:
    with pytest.raises(BadInput, match="choose one"):
        TrainConfig(concept=CAT, resume=True, overwrite=True)


def test_run_name() -> None:
    assert TrainConfig(concept=Concept("<my-cat>")).run_name == "my-cat"
    assert TrainConfig(concept=Concept("cat", tune=True)).run_name == "cat-tuned"
    assert TrainConfig(concept=CAT, name="other").run_name == "other"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "holds no settings"),
        (b"- a\n- b\n", "holds no settings"),
        (b"steps: [1\n", "is not YAML"),
        (b"steps: \xff\xfe\n", "is not YAML"),
        (b"x: !!python/object/apply:os.system ['true']\n", "is not YAML"),
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
