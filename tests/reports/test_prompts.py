"""Prompts of files and of our own, and what is left of them without their subject."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ti_trainer import BadInput
from ti_trainer.reports.prompts import PROMPTS, SCENE_PROMPTS, Prompt, class_word, read_prompts, read_templates

# as the file that comes with DreamBench is laid out
DREAMBENCH = """Classes

subject_name,class
backpack,backpack
cat2,cat

Prompts

Object Prompts

prompt_list = [
'a {0} {1} in the jungle'.format(unique_token, class_token),
"a {0} {1} with a city's lights in the background".format(unique_token, class_token),
'a cube shaped {0} {1}'.format(unique_token, class_token)
]

Live Subject Prompts

prompt_list = [
'a {0} {1} wearing a red hat'.format(unique_token, class_token),
]
"""


def written(folder: Path, text: str) -> str:
    (folder / "prompts.txt").write_text(text, encoding="utf-8")
    return str(folder / "prompts.txt")


@pytest.mark.parametrize(
    ("template", "rest"),
    [
        ("a photo of a {token} on the beach", "a photo on the beach"),
        ("a {token} in the jungle", "in the jungle"),
        ("a photo of {token}, at night", "a photo, at night"),
        ("a red {token}", "a red"),
        ("The {token} in a boat", "in a boat"),
        ("a house in the style of {token}", "a house in the style"),
        ("a {token}", ""),
        ("{token}", ""),
    ],
)
def test_a_prompt_without_its_subject(template: str, rest: str) -> None:
    assert Prompt(template).without_subject == rest


def test_class_word() -> None:
    tokens = ("<my-cat>", "<fluffy-red-dog>", "cat2", "<cat-tuned>", "<7>")
    assert [class_word(token) for token in tokens] == ["cat", "dog", "cat", "tuned", "<7>"]


def test_prompts_of_our_own() -> None:
    assert [prompt.of("<my-cat>") for prompt in SCENE_PROMPTS] == [
        "a photo of a <my-cat>",
        "a photo of a <my-cat> on grass",
        "a photo of a <my-cat> in the snow",
        "a photo of a <my-cat> at night",
        "a photo of a <my-cat> on the beach",
        "a photo of a <my-cat> at sunset",
    ]
    assert [prompt.scene for prompt in SCENE_PROMPTS] == [None, "grass", "snow", "night", "beach", "sunset"]
    assert read_prompts([]) == SCENE_PROMPTS
    assert [prompt.template for prompt in read_prompts(["style"])] == list(PROMPTS["style"])


def test_dreambench_has_a_list_for_things_and_one_for_animals(tmp_path: Path) -> None:
    file = written(tmp_path, DREAMBENCH)
    assert [prompt.template for prompt in read_prompts([file], "object")] == [
        "a {token} in the jungle",
        "a {token} with a city's lights in the background",
        "a cube shaped {token}",
    ]
    assert read_prompts([file], "live") == (Prompt("a {token} wearing a red hat"),)
    for chosen in (None, "dead"):
        with pytest.raises(BadInput, match="has prompts for object and live: choose one with prompt_list"):
            read_prompts([file], chosen)
    only = written(tmp_path, DREAMBENCH[: DREAMBENCH.index("Live")])
    assert len(read_prompts([only])) == 3


def test_a_prompt_in_each_line(tmp_path: Path) -> None:
    file = written(tmp_path, "a {token} at sea\n\n  a red {}\nmy [name]\na {token} at sea\n")
    assert read_prompts([file]) == (Prompt("a {token} at sea"), Prompt("a red {token}"), Prompt("my {token}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {token}\na cat at sea\n", "has 'a cat at sea', without the token: write {token} where it goes"),
        ("'a {1} at sea'.format(token, name)\n", "has 'a at sea', without the token"),
        ("\n\n", 'prompts="FILE" is empty: write lines such as'),
    ],
)
def test_files_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    with pytest.raises(BadInput, match=re.escape(message.replace("FILE", file))):
        read_prompts([file])


def test_no_such_file(tmp_path: Path) -> None:
    for read in (read_prompts, read_templates):
        with pytest.raises(BadInput, match=r"prompts names 'gone\.txt', which is not there; write prompts, or give"):
            read(["gone.txt"])
    with pytest.raises(BadInput, match="has 'gone', without the token"):
        read_prompts(["gone"])


def test_prompts_and_files_may_be_mixed(tmp_path: Path) -> None:
    """Each prompt once, in their order; without the token too, where it need not be there."""
    file = written(tmp_path, "a {} at sea\na cat\n")
    names = ["a red {token}", file, "a  red [name]", "style", " ", "a" * 5000]
    wanted = ("a red {token}", "a {token} at sea", "a cat", *PROMPTS["style"], "a" * 5000)
    assert read_templates(names) == wanted
    assert read_templates([]) == ()
    assert read_prompts(["a {token}", "a red {}"]) == (Prompt("a {token}"), Prompt("a red {token}"))
