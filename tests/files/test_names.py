import pytest

from ti_trainer.errors import BadInput
from ti_trainer.files.names import check_token, token_of_step
from ti_trainer.files.wording import printable


@pytest.mark.parametrize("token", ["<my-cat>", "cat", "<7>", "my_cat-2", "<a>"])
def test_allowed(token: str) -> None:
    check_token(token)


@pytest.mark.parametrize(
    ("token", "cure"),
    [
        ("<My-Cat>", "<my-cat>"),
        ("<my cat>", "<my-cat>"),
        ("<<cat>>", "<cat>"),
        ("<cat", "<cat>"),
        ("cat>", "<cat>"),
        ("a/../b", "<a-b>"),
        ("<kätzchen>", "<k-tzchen>"),
        ("猫", "<my-cat>"),
        ("cat\n", "<cat>"),
        ("<c.a.t>", "<c-a-t>"),
    ],
)
def test_refused_with_a_name_that_would_do(token: str, cure: str) -> None:
    with pytest.raises(BadInput, match="lower-case letters, digits") as refusal:
        check_token(token)
    assert f"token is '{printable(token)}'" in str(refusal.value)
    assert str(refusal.value).endswith(f"; '{cure}' would do")
    check_token(cure)


@pytest.mark.parametrize(
    ("token", "reason"), [("<con>", "Windows keeps for a device"), ("<" + "x" * 255 + ">", "has 255 bytes")]
)
def test_names_that_no_file_may_have(token: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        check_token(token)


def test_cure_of_a_word_that_the_model_should_know() -> None:
    """Without brackets: no model has a word with brackets."""
    with pytest.raises(BadInput, match=r"; 'cat' would do$"):
        check_token("Cat", known_word=True)


@pytest.mark.parametrize("token", ["", "<>", "<<>>"])
def test_no_name_at_all(token: str) -> None:
    with pytest.raises(BadInput, match="choose a name such as '<my-cat>'"):
        check_token(token)


def test_tokens_of_steps() -> None:
    assert token_of_step("<my-cat>", 100) == "<my-cat-000100>"
    assert token_of_step("cat", 12_345_678) == "cat-12345678"
    check_token(token_of_step("<a_b>", 7))
