import dataclasses

import pytest
import yaml

from ti_trainer.config import Concept, TrainConfig, check_no_collisions
from ti_trainer.errors import BadInput
from ti_trainer.settings import config_from_mapping, config_to_mapping, config_to_yaml, field_documentation, read_yaml

CAT = Concept("<cat>")


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


@pytest.mark.parametrize(
    "triggers",
    [
        ["<foo>", "<foo>"],
        ["<foo>", "foo"],  # one file name
        ["<foo>", "<foo_1>"],
        ["<foo_1>", "<foo>"],
        ["<foo>", "<foo1>"],
        ["foo", "<bar>", "foo_12"],
        ["<a-1>", "<a-12>"],
    ],
)
def test_collisions(triggers: list[str]) -> None:
    with pytest.raises(BadInput, match=r"give each its own --token|differ by more than a number"):
        check_no_collisions(triggers)
    with pytest.raises(BadInput):
        TrainConfig(concepts=tuple(Concept(trigger) for trigger in triggers))


@pytest.mark.parametrize(
    "triggers",
    [["<foo>", "<foo-1>"], ["<foo>", "<foo_one>"], ["<foo1>", "<foo2>"], ["<foo>", "<foo_1_x>"], ["<1>", "<a>"]],
)
def test_names_that_do_not_collide(triggers: list[str]) -> None:
    check_no_collisions(triggers)


def test_tuned_word_collides_with_its_new_name() -> None:
    with pytest.raises(BadInput, match="cat-tuned"):
        TrainConfig(concepts=(Concept("cat", tune=True), Concept("<cat-tuned>")))


def test_yaml_round_trip() -> None:
    """Every field differs from its default, so that none is lost on the way."""
    concepts = (
        Concept("<my-cat>", images="../cät: pictures #1", init="file:a b.safetensors", num_vectors=3, templates="null"),
        Concept("dog", images="no", tune=True),
    )
    config = TrainConfig(
        concepts=concepts,
        model="owner/name",
        revision="1.0",
        variant="no",
        cache_dir="~",
        offline=True,
        model_config="null",
        allow_pickle=True,
        prediction_type="v_prediction",
        zero_terminal_snr=False,
        long_captions="chunk",
        gradient_checkpointing=True,
        lean_unet=False,
        output="[runs]",
        name="123",
        steps=1_000_000,
        batch_size=3,
        gradient_accumulation=2,
        lr=1e-5,
        lr_schedule="piecewise:100=0.5,200=0.1",
        warmup_steps=0,
        optimizer="other",
        weight_decay=1e-30,
        max_grad_norm=0.1 + 0.2,
        weighting="min_snr",
        resolution=512,
        flip=True,
        gamma=3.0,
        timesteps="range:0.5-1",
        buckets=True,
        crop="random",
        crops=3,
        mask_background=0.5,
        latent_cache="some/cache",
        skip_bad_images=True,
        clip_skip=1,
        precision="fp16",
        seed=2**63 - 1,
        validate_every=0,
        validation_samples=7,
        checkpoint_every=11,
        preview_every=13,
        preview_steps=17,
        guidance=7.5,
        tensorboard=True,
    )
    changed = [f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default]
    assert set(changed) == {f.name for f in dataclasses.fields(config)} - {"resume", "overwrite"}
    text = config_to_yaml(config)
    assert config_from_mapping(yaml.safe_load(text)) == config
    assert config_to_yaml(config_from_mapping(yaml.safe_load(text))) == text


def test_how_a_run_starts_is_not_part_of_its_settings() -> None:
    resumed = TrainConfig(concepts=(CAT,), resume=True)
    assert config_from_mapping(config_to_mapping(resumed)) == TrainConfig(concepts=(CAT,))
    assert config_to_mapping(TrainConfig(concepts=(CAT,), overwrite=True)) == config_to_mapping(resumed)


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
    config = config_from_mapping(values)
    assert [concept.init for concept in config.concepts] == ["cat", "dog"]
    assert config.lr == 1e-3
    assert list(values) == ["init", "lr", "concepts"]  # the caller's own mapping is untouched
    assert config_from_mapping({"token": "<a>", "steps": 5}) == TrainConfig(concepts=(Concept("<a>"),), steps=5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"token": "<a>", "learning_rat": 1}, "'learning_rat' is not a setting"),
        ({"token": "<a>", "batchsize": 1}, "did you mean 'batch_size'"),
        ({"token": "<a>", "num_vector": 1}, "did you mean 'num_vectors'"),
        ({"concepts": [{"token": "<a>", "imags": "x"}]}, "did you mean 'images'"),
        ({"concepts": [{"token": "<a>", "steps": 3}]}, "'steps' is not a setting"),
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
    ],
)
def test_settings_that_are_refused(values: dict, message: str) -> None:
    with pytest.raises(BadInput, match=r"^[^\n]*$") as refusal:
        config_from_mapping(values)
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
        ("gradient_accumulation", 0),
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
    ("field", "value"), [("lr", 0.0), ("steps", 1), ("num_vectors", 75), ("seed", 2**63 - 1), ("name", "a.b-c_1")]
)
def test_values_at_the_edge(field: str, value: object) -> None:
    config = config_from_mapping({"token": "<a>", field: value})
    assert getattr(config.concepts[0] if field == "num_vectors" else config, field) == value


def test_no_concept_and_both_starts() -> None:
    with pytest.raises(BadInput, match="give a --token"):
        TrainConfig(concepts=())
    with pytest.raises(BadInput, match="choose one"):
        TrainConfig(concepts=(CAT,), resume=True, overwrite=True)


def test_run_name() -> None:
    assert TrainConfig(concepts=(Concept("<my-cat>"), Concept("<b>"))).run_name == "my-cat"
    assert TrainConfig(concepts=(Concept("cat", tune=True),)).run_name == "cat-tuned"
    assert TrainConfig(concepts=(CAT,), name="other").run_name == "other"


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
