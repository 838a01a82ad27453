"""What TrainConfig takes and refuses when it is made."""

import pytest

from ti_trainer.config.concept import Concept
from ti_trainer.config.config import TrainConfig
from ti_trainer.config.settings import config_from_mapping
from ti_trainer.errors import BadInput

CAT = Concept("<cat>")


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
        ("crop", "middle"),
        ("weighting", "none"),
        ("optimizer", "none"),
        ("timesteps", "early"),
        ("timesteps", "range:1-0"),
        ("lr_schedule", "zigzag"),
        ("lr_schedule", "piecewise:a=b"),
        ("long_captions", "wrap"),
        ("prediction_type", "sample"),
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
    assert str(refusal.value).startswith(f"{field} is ")
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
    with pytest.raises(BadInput, match=r"^resume=True goes on with a run and overwrite=True deletes it: choose one$"):
        TrainConfig(concept=CAT, resume=True, overwrite=True)


def test_run_name() -> None:
    assert TrainConfig(concept=Concept("<my-cat>")).run_name == "my-cat"
    assert TrainConfig(concept=Concept("cat", tune=True)).run_name == "cat-tuned"
    assert TrainConfig(concept=CAT, name="other").run_name == "other"


def test_weight_decay_is_refused_where_rows_keep_their_length() -> None:
    """In one line that says what helps; other rules have it."""
    with pytest.raises(BadInput) as refusal:
        config_from_mapping({"token": "<a>", "optimizer": "sphere:rho=0.1", "weight_decay": 0.01})
    assert str(refusal.value) == (
        "weight_decay: 0.01 does nothing to rows that keep their length: leave it out, or choose another optimizer "
        "than sphere:rho=0.1"
    )
    for optimizer, decay in (("sphere", 0.0), ("adamw", 0.01)):
        config = config_from_mapping({"token": "<a>", "optimizer": optimizer, "weight_decay": decay})
        assert (config.optimizer, config.weight_decay) == (optimizer, decay)
