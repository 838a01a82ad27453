"""Lists of concepts: the same settings from every format, and what people's files hold beside that."""

from __future__ import annotations

import csv
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ti_trainer.config.concept_lists import read_concepts, record_name
from ti_trainer.config.settings import config_from_mapping
from ti_trainer.errors import BadInput
from ti_trainer.files.folder_names import NAME
from ti_trainer.runs.manifest import RECORD

CONCEPTS = [
    {"token": "<my-cat>", "images": "photos/cät, grey", "num_vectors": 4, "tag_dropout": 0.25, "flip": True},
    {"token": "12", "images": "true", "lr": 5e-3, "resolution": 512, "flip": False, "init": "4.0"},
    {"token": "<b>", "images": "s3://bucket/b", "class_weight": 1.0},
]
COLUMNS = list(dict.fromkeys(key for concept in CONCEPTS for key in concept))


def write_csv(file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, COLUMNS)
        writer.writeheader()
        writer.writerows(CONCEPTS)


def write_parquet(file: Path, rows: list[dict[str, Any]] | None = None) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    rows = [{column: concept.get(column) for column in COLUMNS} for concept in CONCEPTS] if rows is None else rows
    write_table(pa.Table.from_pylist(rows), file)


WRITERS = {
    "a.yaml": lambda file: file.write_text(yaml.safe_dump(CONCEPTS, allow_unicode=True), encoding="utf-8"),
    "a.yml": lambda file: file.write_text(yaml.safe_dump({"concepts": CONCEPTS}), encoding="utf-8"),
    "a.jsonl": lambda file: file.write_text("\n\n".join(json.dumps(c) for c in CONCEPTS), encoding="utf-8"),
    "nulls.jsonl": lambda file: file.write_text("\n".join(json.dumps({"masks": None, **c}) for c in CONCEPTS)),
    "a.csv": write_csv,
    "a.CSV": write_csv,
    "a.parquet": write_parquet,
}


def read_settings(path: str | Path) -> list[Mapping[str, Any]]:
    """What each row sets; none has a problem."""
    rows = read_concepts(str(path))
    assert [row.problem for row in rows] == [None] * len(rows)
    return [row.settings for row in rows]


def typed(concepts: Sequence[Mapping[str, Any]]) -> list[dict[str, tuple[type, Any]]]:
    """Values with their types: True and 1, 1.0 and 1 are equal, and not the same setting."""
    return [{key: (type(value), value) for key, value in concept.items()} for concept in concepts]


@pytest.mark.parametrize("name", WRITERS)
def test_formats_agree(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    concepts = read_settings(tmp_path / name)
    assert typed(concepts) == typed(CONCEPTS)
    for concept in concepts:
        config_from_mapping(concept, {"model": "tiny-sd"})  # settings take them as they are


def test_csv_from_a_spreadsheet(tmp_path: Path) -> None:
    """Byte order mark, CRLF, TRUE, whole numbers as floats, quotes, and empty rows at the end."""
    text = 'token,num_vectors,flip,lr,templates\r\n<a>,4.0,TRUE,1,"a ""b"", c"\r\n<b>, 3 ,,5e-3, \r\n,,,,\r\n,,,,\r\n'
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert typed(read_settings(tmp_path / "a.csv")) == typed(
        [
            {"token": "<a>", "num_vectors": 4, "flip": True, "lr": 1.0, "templates": 'a "b", c'},
            {"token": "<b>", "num_vectors": 3, "lr": 0.005},
        ]
    )


def test_what_pandas_writes(tmp_path: Path) -> None:
    """A whole number beside an empty cell is a float, the empty cell NaN, repeated texts a dictionary."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"token": ["<a>", "<b>"], "num_vectors": [4, None], "init": ["cat", "cat"]})
    assert frame["num_vectors"].dtype == float
    frame["init"] = frame["init"].astype("category")
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_csv(tmp_path / "a.csv", index=False)
    expected = typed([{"token": "<a>", "num_vectors": 4, "init": "cat"}, {"token": "<b>", "init": "cat"}])
    for name in ("a.parquet", "a.jsonl", "a.csv"):
        assert typed(read_settings(tmp_path / name)) == expected, name
    frame.to_csv(tmp_path / "index.csv")
    with pytest.raises(BadInput, match="has a column without a name; leave it out"):
        read_concepts(str(tmp_path / "index.csv"))


def test_nan_in_parquet(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [{"token": "<a>", "lr": float("nan")}, {"token": "<b>", "lr": 0.5}])
    assert read_settings(tmp_path / "a.parquet") == [{"token": "<a>"}, {"token": "<b>", "lr": 0.5}]


def test_what_is_no_setting_is_kept(tmp_path: Path) -> None:
    """As JSON has it, and apart from the settings; what is empty is not there."""
    (tmp_path / "a.csv").write_text("token,customer,imagse\n<a>,Ada,12\n<b>,,\n")
    a, b = read_concepts(str(tmp_path / "a.csv"))
    assert (a.settings, a.columns) == ({"token": "<a>"}, {"customer": "Ada", "imagse": "12"})
    assert (b.settings, b.columns) == ({"token": "<b>"}, {})
    columns = {"order": 7, "paid": True, "price": 1.5, "parts": [{"a": None}], "note": "line\nbreak"}
    (tmp_path / "a.jsonl").write_text(json.dumps({"token": "<a>", **columns}))
    (row,) = read_concepts(str(tmp_path / "a.jsonl"))
    assert (row.problem, row.columns) == (None, columns)
    when = datetime.datetime(2026, 11, 30, 12)
    write_parquet(tmp_path / "a.parquet", [{"token": "<a>", "when": when, "gone": float("nan")}])
    (row,) = read_concepts(str(tmp_path / "a.parquet"))
    assert row.columns == {"when": "2026-11-30T12:00:00"}


def test_what_cannot_be_kept(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [{"token": "<a>", "picture": b"PNG"}])
    (row,) = read_concepts(str(tmp_path / "a.parquet"))
    assert "row 0: picture cannot be kept, because not all of it is text or numbers" in str(row.problem)
    (tmp_path / "a.jsonl").write_text(json.dumps({"token": "<a>", "text": "x" * 20_000}) + '\n{"token": "<b>"}')
    a, b = read_concepts(str(tmp_path / "a.jsonl"))
    assert "a.jsonl, line 1 has 20,012 letters that are no settings, and at most 16,384 are kept" in str(a.problem)
    assert b.problem is None


def test_names_under_which_rows_are_on_record() -> None:
    assert record_name("lists/orders.jsonl, line 7") == "orders.jsonl,7"
    assert record_name("a b, c.parquet, row 0") == "a_b__c.parquet,0"
    assert record_name("list.yaml, concept 12") == "list.yaml,12"
    assert all(RECORD.fullmatch(name) and not NAME.fullmatch(name) for name in ("orders.jsonl,7", "a_b__c.parquet,0"))


HOSTILE: dict[str, tuple[str, str | bytes, str]] = {
    "empty": ("a.jsonl", "", "lists no concepts"),
    "only blank lines": ("a.jsonl", "\n \n", "lists no concepts"),
    "only a header": ("a.csv", "token,images\n", "lists no concepts"),
    "empty yaml": ("a.yaml", "# nothing yet\n", "lists no concepts"),
    "empty list": ("a.yaml", "concepts: []\n", "lists no concepts"),
    "Latin-1": ("a.csv", b"token,init\n<a>,k\xe4tzchen\n", "cannot be read as UTF-8 text"),
    "Latin-1 yaml": ("a.yaml", b"- token: k\xe4tzchen\n", "cannot be read as UTF-8 text"),
    "zeros": ("a.jsonl", b"\0" * 1000, "cannot be read as UTF-8 text"),
    "deep yaml": ("a.yaml", "[" * 100_000, "20 lists or mappings lie in each other"),
    "date as token": ("a.yaml", "- token: 2024-01-01\n", "a.yaml, line 1 has a date, which no setting is"),
    "date that is none": ("a.yaml", "- token: 2024-99-99\n", "a.yaml, line 1 has a date"),
    "tab": ("a.yaml", "- token: <a>\n\tinit: cat\n", "a.yaml, line 2 is not YAML: found"),
    "one concept": ("a.yaml", "token: <a>\ninit: cat\n", "has token, init at the top, where only 'concepts' may be"),
    "a config": ("a.yaml", "steps: 5\nconcepts: [{token: a}]\n", "has steps at the top"),
    "a text": ("a.yaml", "concepts: cats\n", "is 'cats', which is not a list"),
    "number as key": ("a.yaml", "- {1: 2, token: a}\n", "a.yaml, line 1 has a name that is no text"),
    "yaml that runs code": ("a.yaml", "- !!python/object/apply:os.getcwd []\n", "line 1 has the tag '!!python/"),
    "column twice": ("a.csv", "token,init,init\n<a>,b,c\n", "line 1 has more than one column called init"),
    "semicolons": (
        "a.csv",
        "token;init\n<a>;b\n",
        "has the columns 'token;init'; it needs one called token, and commas between them",
    ),
    "open quote": ("a.csv", 'token,init\n<a>,"b\n', "is not CSV: unexpected end of data"),
    "vast cell": ("a.csv", "token\n" + "a" * 200_000 + "\n", "is not CSV: field larger than field limit"),
    "other suffix": ("a.txt", "<a>\n", "is no list of concepts; give a .yaml, .yml, .jsonl, .csv, .parquet file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile(tmp_path: Path, case: str) -> None:
    name, content, message = HOSTILE[case]
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(BadInput) as error:
        read_concepts(str(tmp_path / name))
    assert message in str(error.value)
    assert str(tmp_path / name) in str(error.value)
    assert len(str(error.value)) < 600


BAD_ROWS: dict[str, tuple[str, str, str]] = {
    "long row": ("a.csv", "token,init\n<a>,b,c\n", "a.csv, line 2 has another number of columns"),
    "short row": ("a.csv", "token,init\n<a>,b\n<c>\n", "a.csv, line 3 has another number of columns"),
    "deep JSON": ("a.jsonl", "[" * 100_000 + "\n", "a.jsonl, line 1 is not JSON"),
    "no object": ("a.jsonl", '{"token": "<a>"}\n\n["<b>"]\n', "a.jsonl, line 3 is not JSON such as {"),
    "no JSON": ("a.jsonl", '{"token": "<a>"}\n{"token": "<b>"\n', "a.jsonl, line 2 is not JSON such as {"),
    "no token": ("a.jsonl", '{"token": "<a>"}\n{"images": "b"}\n', "a.jsonl, line 2 has no token"),
    "empty token": ("a.yaml", "- token: <a>\n- token: ''\n", "a.yaml, concept 2 has no token"),
    "null token": ("a.yaml", "- token:\n", "a.yaml, concept 1 has no token"),
    "empty cell": ("a.csv", "token,init\n<a>,cat\n,dog\n", "a.csv, line 3 has no token"),
    "number as token": ("a.yaml", "- token: 12\n", "a.yaml, concept 1: the token is 12, which is not text"),
    "texts": ("a.yaml", "- <a>\n", "a.yaml, concept 1 is no mapping; write '- token: <my-cat>'"),
    "half a vector": ("a.csv", "token,num_vectors\n<a>,1.5\n", "line 2: num_vectors is '1.5'; write a whole number"),
    "vast number": ("a.csv", "token,seed\n<a>," + "9" * 5000 + "\n", "line 2: seed is '999"),
    "perhaps": ("a.csv", "token,flip\n<a>,maybe\n", "line 2: flip is 'maybe'; write true or false"),
    "word": ("a.csv", "token,lr\n<a>,fast\n", "line 2: lr is 'fast'; write a number"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_one_row(tmp_path: Path, case: str) -> None:
    """Its problem names the line, and the others are read."""
    name, content, message = BAD_ROWS[case]
    columns = content.partition("\n")[0].count(",")
    good = {"csv": "<good>" + "," * columns, "jsonl": '{"token": "<good>"}', "yaml": "- token: <good>"}
    (tmp_path / name).write_text(content + good[name.partition(".")[2]] + "\n")
    *_, bad, last = read_concepts(str(tmp_path / name))
    assert message in str(bad.problem)
    assert str(tmp_path / name) in str(bad.problem)
    assert len(str(bad.problem)) < 600
    assert (last.settings, last.problem) == ({"token": "<good>"}, None)


def test_hostile_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1" + b"\0" * 100)
    with pytest.raises(BadInput, match="cannot be read as parquet"):
        read_concepts(str(file))
    write_parquet(file, [{"file_name": "a.png", "text": "b"}])
    with pytest.raises(BadInput, match="has the columns file_name, text; it needs one called token"):
        read_concepts(str(file))
    write_table(pa.table([["<a>"], ["b"], ["c"]], names=["token", "init", "init"]), file)
    with pytest.raises(BadInput, match="no name twice"):
        read_concepts(str(file))
    write_parquet(file, [{"token": "<a>"}, {"token": None}])
    first, second = read_concepts(str(file))
    assert (first.settings, first.problem) == ({"token": "<a>"}, None)
    assert "a.parquet, row 1 has no token" in str(second.problem)


def test_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(BadInput, match=r"folder\.jsonl is not a file"):
        read_concepts(str(tmp_path / "folder.jsonl"))
    with pytest.raises(BadInput, match=r"nowhere\.csv does not exist"):
        read_concepts(str(tmp_path / "nowhere.csv"))
