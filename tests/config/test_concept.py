"""What Concept takes and refuses when it is made."""

import pytest

from ti_trainer.config.concept import Concept
from ti_trainer.errors import BadInput
from ti_trainer.files.wording import printable


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
        ("<-cat>", "<cat>"),
        ("cat-", "<cat>"),
    ],
)
def test_tokens_that_are_refused(token: str, cure: str) -> None:
    with pytest.raises(BadInput) as refusal:
        Concept(token)
    assert f"'{printable(token)}'" in str(refusal.value)
    assert f"'{cure}'" in str(refusal.value)
    assert Concept(cure).token == cure  # the cure that is offered is one


def test_tuned_word() -> None:
    assert (Concept("cat", tune=True).trigger, Concept("cat", tune=True).stem) == ("<cat-tuned>", "cat-tuned")
    assert Concept("<cat>", tune=True).stem == "cat-tuned"
    for extra in ({"num_vectors": 2}, {"init": "dog"}):
        with pytest.raises(BadInput, match=r"^tune=True trains the rows .*: leave out init and num_vectors$"):
            Concept("cat", tune=True, **extra)
