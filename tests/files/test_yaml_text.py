"""YAML as PyYAML reads it, and nothing of it that grows or is no setting."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ti_trainer.errors import BadInput
from ti_trainer.files.yaml_text import DEEPEST, MOST_VALUES, parse_yaml, read_yaml_file

READ = [
    "",
    "# only a comment\n",
    "--- 1\n...\n",
    "a: ~\nb: 0o17\nc: 017\nd: .inf\ne: 1_000\nf: 1:30\ng: yes\nh: 'yes'\ni: 5e-3\nj: 1.5e-3\nk: -0x1F\nl: ''\nm:\n",
    "a: !!str 5\nb: !!float 1\nc: !!int '3'\nd: !!bool 'no'\ne: !!null ''\nf: ! 7\n",
    "a: |\n  one\n  two\nb: >-\n  three\n  four\n",
    "- [1, 2, {a: b}]\n- - x\n",
    "a: &one {x: 1, y: 2}\nb: {<<: *one, y: 3}\nc: [*one, *one]\n",
    "a: &one {x: 1}\nb: &two {x: 2, y: 2}\nc: {z: 3, <<: [*one, *two]}\n",
    '"<<": 3\n',
    '"a b": "ä \\u00e4 \\x41"\n',
]


@pytest.mark.parametrize("text", READ)
def test_read_as_pyyaml_reads_it(text: str) -> None:
    found = parse_yaml(text, "x.yaml")
    wanted = yaml.safe_load(text)
    assert found == wanted
    assert repr(found) == repr(wanted)  # 1 is not true, and not 1.0; and the order of keys


def bomb(leaf: str, link: str, doublings: int = 9) -> str:
    """Lines, each of which repeats the one before nine times."""
    lines = [f"a0: &a0 {leaf}"]
    for n in range(doublings):
        lines.append(f"a{n + 1}: &a{n + 1} {link.format(', '.join([f'*a{n}'] * 9))}")
    return "\n".join(lines)


REFUSED = {
    "lists of aliases": (bomb("[x]", "[{}]"), "values, aliases counted; cut it up"),
    "merges": (bomb("{x: 1}", "{{<<: [{}], y: 1}}"), "values, aliases counted; cut it up"),
    "many merges of a large mapping": (
        "a: &a {" + ", ".join(f"k{n}: 1" for n in range(5_000)) + "}\nb:\n" + "- {<<: *a}\n" * 30,
        "values, aliases counted; cut it up",
    ),
    "many values": ("- 1\n" * (MOST_VALUES + 1), f"line {MOST_VALUES} is where the file has more than 100,000 values"),
    "deep list": ("[" * 6_000, f"line 1 is too deep: more than {DEEPEST} lists or mappings"),
    "deep mapping": ("{a: " * 6_000, "line 1 is too deep"),
    "deep block": ("- " * 6_000, "line 1 is too deep"),
    "list in itself": ("&a [*a]", "line 1 repeats 'a', which nothing before it is called"),
    "alias of nothing": ("a: *b\n", "line 1 repeats 'b'"),
    "key twice": ("a: 1\nb: 2\na: 3\n", "line 3 has 'a' for the second time; leave one of them"),
    "merge key twice": ("a: &a {b: 1}\nc:\n  <<: *a\n  <<: *a\n", "line 4 has '<<' for the second time"),
    "date": ("a: 1\nb: 2024-05-01\n", "line 2 has a date, which no setting is; put it in quotes"),
    "date that is none": ("a: 2024-99-99\n", "line 1 has a date"),
    "time": ("a: 2024-05-01 10:00:00\n", "line 1 has a date"),
    "number of 5,000 digits": ("a: " + "9" * 5_000, "line 1 has a number of 5,000 digits"),
    "hexadecimal number": ("a: 0x" + "f" * 5_000, "line 1 has a number of 5,002 digits"),
    "number to the base of sixty": ("a: 1" + ":59" * 10_000, "line 1 has a number of 30,001 digits"),
    "fraction": ("a: 1." + "5" * 5_000, "line 1 has a number of 5,002 digits"),
    "word as an integer": ("a: !!int x", "line 1 has 'x' as !!int, which it is not"),
    "nothing as an integer": ("a: !!int ''", "line 1 has '' as !!int"),
    "word as a fraction": ("a: !!float x", "line 1 has 'x' as !!float"),
    "word as true or false": ("a: !!bool x", "line 1 has 'x' as !!bool"),
    "word as a date": ("a: !!timestamp x", "line 1 has a date"),
    "number as a key": ("1: 2\n", "line 1 has a name that is no text"),
    "true as a key": ("on: 2\n", "line 1 has a name that is no text"),
    "list as a key": ("? [1, 2]\n: 3\n", "line 1 has a name that is no text"),
    "alias as a key": ("a: &b c\n*b : 3\n", "line 2 has a name that is no text"),
    "merge of a text": ("<<: text\n", "line 1 merges what is no mapping"),
    "bytes": ("a: !!binary aGk=\n", "line 1 has the tag '!!binary', which is not read here; leave it out"),
    "set": ("a: !!set {b}\n", "line 1 has the tag '!!set'"),
    "pairs": ("a: !!omap [b: 1]\n", "line 1 has the tag '!!omap'"),
    "code": ("a: !!python/object/apply:os.getcwd []\n", "line 1 has the tag '!!python/obj"),
    "value": ("a: =\n", "line 1 has the tag '!!value'"),
    "tag of a kilometre": (f"a: !{'b' * 1_000} c\n", "line 1 has the tag '!bbb"),
    "two documents": ("a: 1\n---\nb: 2\n", "line 2 begins a second document"),
    "open list": ("a: 1\nb: [1\n", "is not YAML: "),
    "tab": ("a:\n\tb: 1\n", "line 2 is not YAML: found"),
    "backslash": ('a: "C:\\Users"\n', "; a path with backslashes goes into single quotes"),
    "backslash before another letter": ('a: "C:\\photos"\n', "; a path with backslashes goes into single quotes"),
    "backslash that makes a line break": (
        'a: "C:\\new"\n',
        "which is no path; a path with backslashes goes into single",
    ),
    "control character": ("a: \x07\n", "is not YAML: control characters are not allowed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    """In one short line that says where."""
    text, wanted = REFUSED[case]
    with pytest.raises(BadInput) as caught:
        parse_yaml(text, "x.yaml")
    message = str(caught.value)
    assert message.startswith("x.yaml")
    assert wanted in message
    assert message.isprintable()
    assert len(message) < 150


def test_as_deep_and_as_many_as_may_be() -> None:
    found = parse_yaml("[" * DEEPEST + "]" * DEEPEST, "x.yaml")
    for _ in range(DEEPEST - 1):
        (found,) = found
    assert found == []
    assert len(parse_yaml("- 1\n" * (MOST_VALUES - 1), "x.yaml")) == MOST_VALUES - 1


def test_files_in_the_encodings_that_text_may_have(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "x.yaml").write_text("token: кот\n", encoding=encoding)
        assert read_yaml_file(tmp_path / "x.yaml", "x") == {"token": "кот"}
    with (tmp_path / "x.yaml").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BadInput, match=r"^--config x has 1,099,511,627,776 bytes, and a YAML file has at most"):
        read_yaml_file(tmp_path / "x.yaml", "--config x")
