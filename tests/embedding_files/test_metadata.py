import json

import pytest

from ti_trainer.embedding_files.metadata import embedding_metadata


def metadata(**changes) -> dict[str, str]:
    values = {
        "token": "<my-cat>",
        "num_vectors": 2,
        "step": 120,
        "architecture": "stable-diffusion-v1",
        "resolution": 512,
        "prediction_type": "epsilon",
        "encoder_layer": 2,
        "version": "0.1.0",
        "config": {"steps": 240, "lr": 1e-5, "flip": False, "resolution": None},
    }
    return embedding_metadata(**(values | changes))


def test_model_spec() -> None:
    """ModelSpec 1.0.1; its encoder layer counts from 1, the last, as "clip skip" in WebUIs does."""
    spec = {key.removeprefix("modelspec."): value for key, value in metadata().items() if key.startswith("modelspec.")}
    hint = spec.pop("usage_hint")
    assert "my-cat" in hint.replace("<my-cat>", "")
    assert "<my-cat>" in hint
    assert spec == {
        "sai_model_spec": "1.0.1",
        "architecture": "stable-diffusion-v1/textual-inversion",
        "implementation": "diffusers",
        "title": "my-cat",
        "resolution": "512x512",
        "trigger_phrase": "<my-cat>",
        "prediction_type": "epsilon",
        "encoder_layer": "2",
        "is_negative_embedding": "false",
    }


@pytest.mark.parametrize(("prediction_type", "written"), [("v_prediction", "v"), ("epsilon", "epsilon")])
def test_prediction_type(prediction_type: str, written: str) -> None:
    assert metadata(prediction_type=prediction_type)["modelspec.prediction_type"] == written


def test_our_own_keys() -> None:
    own = {key: value for key, value in metadata().items() if key.startswith("ti_trainer.")}
    config = own.pop("ti_trainer.config")
    assert json.loads(config) == {"steps": 240, "lr": 1e-5, "flip": False, "resolution": None}
    assert own == {
        "ti_trainer.version": "0.1.0",
        "ti_trainer.token": "<my-cat>",
        "ti_trainer.vectors": "2",
        "ti_trainer.step": "120",
    }


def test_what_may_be_left_out() -> None:
    known = {"init": "a cat", "seed": 0, "base_model": "sd-v1-5", "base_model_hash": "0xab", "data_hash": "0xcd"}
    added = set(metadata(**known).items()) - set(metadata().items())
    assert added == {(f"ti_trainer.{key}", str(value)) for key, value in known.items()}
    assert metadata(negative=True)["modelspec.is_negative_embedding"] == "true"


def test_a_rerun_writes_the_same() -> None:
    config = {"steps": 240, "lr": 1e-5, "flip": False, "resolution": None}
    assert metadata(config=dict(reversed(config.items()))) == metadata()
    assert all(isinstance(value, str) for value in metadata().values())
    assert not any("date" in key for key in metadata())


def test_what_its_maker_says() -> None:
    told = metadata(sharing={"author": "me", "tags": "cat,striped", "title": "another"})
    assert (told["modelspec.author"], told["modelspec.tags"]) == ("me", "cat,striped")
    assert told["modelspec.title"] == "my-cat"  # WebUIs call it so
