"""Which runs may be trained together."""

import dataclasses
from typing import Any

import pytest

from tests.config.changed_settings import CHANGED
from ti_trainer.config.concept import Concept
from ti_trainer.config.config import TrainConfig
from ti_trainer.config.settings import marked
from ti_trainer.config.together import check_together
from ti_trainer.errors import BadInput
from ti_trainer.method.optimizers import OPTIMIZERS


@pytest.fixture(autouse=True)
def _another_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIMIZERS, "other", OPTIMIZERS["adamw"])


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
    "vae": (None, "other/vae"),
    "cache_dir": (None, "here"),
    "offline": (False, True),
    "model_config": (None, "there"),
    "allow_pickle": (False, True),
    "prediction_type": (None, "epsilon"),
    "zero_terminal_snr": (None, True),
    "flow_shift": (None, 2.0),
    "train_slots": ((), ("clip_l",)),
    "clip_skip": (0, 1),
    "long_captions": ("truncate", "chunk"),
    "gradient_checkpointing": (None, False),
    "lean_unet": (True, False),
    "quantize": (None, "8bit"),
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
    assert set(marked("shared")) == set(SHARED_SETTINGS)
    (cat,) = together("<cat>")
    for name in set(CHANGED) - set(marked("shared")):
        (dog,) = together("<dog>", **{"optimizer": "adamw", name: CHANGED[name]})  # which knows weight decay
        check_together([cat, dog])
