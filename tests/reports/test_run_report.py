"""The page of a run: what it says, that strangers' text stays text, and that it asks the network for nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from PIL import Image

from tests.reports.pages import FIGURES, HOSTILE, report_of
from ti_trainer.reports.run_report import (
    IndexEntry,
    NearWords,
    PreviewRow,
    Reference,
    render_index,
    render_run,
    with_evaluation,
)


class Reader(HTMLParser):
    """Which elements a page has, with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.pieces: list[str] = []
        self.is_code = False  # of the page itself
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.is_code = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self.is_code = False

    def handle_data(self, data: str) -> None:
        if not self.is_code:
            self.text += data
            self.pieces.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def words(page: str) -> str:
    """All that is said, with one blank between words and between elements."""
    return " ".join(" ".join(Reader(page).pieces).split())


def test_all_that_is_known_is_shown() -> None:
    page = render_run(report_of())
    said = words(page)
    for text in (
        "<my-cat> finished",
        "step 100 of 100 · rows of step 90 saved",
        "Step 30",
        "Step 90 (saved)",
        "a photo of a <my-cat> on the beach",
        "Loss under fixed noise",
        "row 2 cat 0.91 striped 0.40",
        "IMG_1.jpg and IMG_2.jpg are nearly the same",
        "steps 100 300",
        "memory 1.2 GiB at most",
        "A1111, Forge copy it into embeddings/",
        "cat-4.jpg",
    ):
        assert text in said, text
    found = Reader(page)
    assert len(found.all("svg")) == 4
    assert len(found.all("circle")) == 11 + 1
    assert [each["max"] for each in found.all("input")] == ["3"]
    assert len([each for each in found.all("div") if each.get("class") == "row"]) == 4


def test_nothing_comes_from_elsewhere() -> None:
    page = with_evaluation(render_run(report_of()), FIGURES, Image.new("RGB", (8, 8)))
    for _, attributes in Reader(page).elements:
        for name in ("src", "href", "action", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"https?:|url\(|@import", page)
    assert "default-src 'none'" in page


def test_only_a_run_that_goes_on_is_loaded_again() -> None:
    learning = render_run(report_of(state="learning", step=25))
    assert "location.reload" in learning
    assert "width: 25.0%" in learning
    assert "location.reload" not in render_run(report_of())


def test_a_run_of_which_nothing_is_known_yet() -> None:
    empty: dict[str, Any] = {"previews": [], "references": [], "near": [], "notes": [], "settings": []}
    said = words(render_run(report_of(**empty, curves=report_of().curves.__class__([], [], [], None, [], []))))
    assert "Nothing has been drawn yet." in said
    assert "How it learned" not in said


def test_text_of_strangers_stays_text() -> None:
    """In every place where one may be: the page has the elements that it has with harmless text, and shows it."""

    def page_with(text: str) -> str:
        report = report_of(
            token=text,
            model=text,
            summary=text,
            references=[Reference(text, "data:,", text, [text, text])],
            columns=[text],
            previews=[PreviewRow(0, False, ["data:,"])],
            near=[NearWords(text, [(text, 0.5)])],
            notes=[text],
            settings=[(text, text, text)],
            figures=[(text, text)],
            uses=[(text, text)],
        )
        figures = {**FIGURES["figures"][0], "judge": text, "measure": text, "means": {text: 0.5}}
        figures["differences"] = {text: {"checkpoint": False, "mean": 0.0, "low": 0.0, "high": 0.0}}
        page = with_evaluation(render_run(report), {**FIGURES, "figures": [figures]}, Image.new("RGB", (8, 8)))
        return page + render_index(
            text, [IndexEntry("a", text, "finished", text, True), IndexEntry(text, text, "failed", text, False)]
        )

    harmless, hostile = Reader(page_with("harmless")), Reader(page_with(HOSTILE))
    assert [name for name, _ in hostile.elements] == [name for name, _ in harmless.elements]
    assert hostile.text.count(HOSTILE) == harmless.text.count("harmless") > 20
    assert "49" not in hostile.text


def test_an_evaluation_takes_its_place_once() -> None:
    page = render_run(report_of())
    once = with_evaluation(page, FIGURES, Image.new("RGB", (8, 8)))
    said = words(once)
    assert "identity 0.812 0.700" in said
    assert 'less "cat", untrained: +0.112, from +0.050 to +0.200' in said
    assert "less step 20" not in said
    other = {**FIGURES, "references": 77}
    assert with_evaluation(once, other, Image.new("RGB", (8, 8))) == with_evaluation(
        page, other, Image.new("RGB", (8, 8))
    )


def test_the_page_over_all_runs() -> None:
    entries = [
        IndexEntry("my-cat", "<my-cat>", "finished", "rows of step 90 of 100", True),
        IndexEntry("my dog", "<my-dog>", "learning", "300 steps", True),
        IndexEntry("bad", "bad", "failed", "its pictures are gone", False),
    ]
    page = render_index("runs", entries)
    found = Reader(page)
    assert [each["href"] for each in found.all("a")] == ["my-cat/report.html"] * 2 + ["my%20dog/report.html"]
    assert [each["src"] for each in found.all("img")] == ["my-cat/before_after.png"]
    said = words(page)
    assert "3 concepts, 1 finished, 1 failed" in said
    assert "its pictures are gone" in said
