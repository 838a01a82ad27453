"""The page of a run in a real browser, from the disk: no errors, a slider that moves, two schemes and widths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browsers import SHOTS, chromium
from tests.reports.pages import FIGURES, HOSTILE, report_of
from ti_trainer.reports.run_report import IndexEntry, Reference, render_index, render_run, with_evaluation


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    long = Reference("a-" * 90 + ".jpg", "data:,", "1 x 1", [HOSTILE])
    report = report_of(
        references=[*report_of().references, long], settings=[("images", "/photos" * 30, "my-cat"), ("steps", "1", "2")]
    )
    page = with_evaluation(render_run(report), FIGURES, Image.new("RGB", (900, 400), "grey"))
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "my-cat").mkdir()
    Image.new("RGB", (600, 300), "teal").save(folder / "my-cat" / "before_after.png")
    (folder / "my-cat" / "report.html").write_text(page, encoding="utf-8")
    entries = [
        IndexEntry("my-cat", "<my-cat>", "finished", "rows of step 90", True),
        IndexEntry("x", "x", "failed", HOSTILE, False),
    ]
    (folder / "index.html").write_text(render_index("runs", entries), encoding="utf-8")
    return folder / "report.html"


def opened(browser: Any, file: Path, width: int, scheme: str) -> tuple[Any, list[str]]:
    """The page, and a list of all errors and of all that it asks the network for."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen: list[str] = []
    page.on("console", lambda message: seen.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("requestfailed", lambda request: seen.append(request.url))
    page.on(
        "request", lambda request: seen.append(request.url) if not request.url.startswith(("file:", "data:")) else None
    )
    page.goto(file.as_uri())
    return page, seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", ["report", "index"])
def test_opens_in_both_schemes_and_widths(browser: Any, page_file: Path, name: str, width: int, scheme: str) -> None:
    page, seen = opened(browser, page_file.with_name(f"{name}.html"), width, scheme)
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}-{width}-{scheme}.png", full_page=True)
    assert seen == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in ground.removeprefix("rgb(").rstrip(")").split(",")) / 3
    assert (brightness < 60) == (scheme == "dark")
    assert "taken" not in page.title()
    assert page.evaluate(
        "[...document.images].filter(image => image.src !== 'data:,').every(image => image.naturalWidth > 0)"
    )
    page.close()


def test_the_slider_moves_through_the_steps(browser: Any, page_file: Path) -> None:
    page, seen = opened(browser, page_file, 1400, "light")

    def shown() -> list[str]:
        return [
            row.inner_text().splitlines()[0] for row in page.query_selector_all(".timeline .row") if row.is_visible()
        ]

    assert shown() == ["Step 90 (saved)"]
    page.locator("#slider").press("ArrowLeft")
    assert shown() == ["Step 60"]
    assert page.locator("#shown").inner_text() == "step 60"
    box = page.locator("#slider").bounding_box()
    page.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
    assert shown() == ["Step 0"]
    page.locator("#play").click()
    for step in (30, 60, 90):
        page.locator("#shown", has_text=f"step {step}").wait_for()
    assert shown() == ["Step 90 (saved)"]
    assert seen == []
    page.close()


def test_a_run_that_goes_on_opens_too(browser: Any, tmp_path: Path) -> None:
    for number, changes in enumerate(({}, {"previews": []})):
        file = tmp_path / f"{number}.html"
        file.write_text(render_run(report_of(state="learning", step=40, **changes)), encoding="utf-8")
        page, seen = opened(browser, file, 400, "light")
        assert seen == []
        page.close()
