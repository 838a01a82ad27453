"""The page in a real browser: from dropped pictures to a file that diffusers loads, and what goes wrong on the way."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from diffusers import StableDiffusionPipeline

from tests.browsers import SHOTS, chromium
from ti_trainer.config.bundled import TINY_SD, sample_data

pytest.importorskip("gradio", reason="gradio is not installed")
pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds
PICTURES = sample_data("my-cat")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@dataclass
class Server:
    process: subprocess.Popen[str]
    address: str
    output: Path
    root: Path  # from which the page may read


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("ui")
    (place / "photos").mkdir()
    output = place / "runs"
    command = [sys.executable, "-m", "ti_trainer", "ui", "--output", str(output), "--port", "0"]
    command += ["--roots", str(place / "photos")]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, line + process.stdout.read()
    yield Server(process, found[0], output, place / "photos")
    process.send_signal(signal.SIGTERM)
    assert "runs are saved" in process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 128 + signal.SIGTERM
    assert list((output / ".ui").glob("uploads-*")) == []


class Page:
    """A browser's page, by what a person sees."""

    def __init__(self, browser: Any, server: Server, width: int = 1100) -> None:
        self.server = server
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.set_default_timeout(20_000)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.open()

    def open(self) -> None:
        self.page.goto(self.server.address)
        self.page.get_by_role("button", name="Train", exact=True).wait_for()
        self.until(lambda: "picture" in self.text("#dataset"))

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def fill(self, selector: str, text: str) -> None:
        self.page.locator(f"{selector} input, {selector} textarea").first.fill(text)

    def choose(self, selector: str, text: str) -> None:
        """Choose from a list, as it opens."""
        self.page.locator(f"{selector} input").click()
        self.page.get_by_role("option", name=text).first.click()

    def until(self, is_so: Callable[[], bool], seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, self.page.locator("body").inner_text()[:3000]
            self.page.wait_for_timeout(100)

    def error(self) -> str:
        """What it complains about, which is then put away."""
        toast = self.page.get_by_test_id("toast-body").first
        toast.wait_for()
        said = str(toast.inner_text())
        toast.get_by_test_id("toast-close").click()
        toast.wait_for(state="detached")
        return said

    def drop(self, *files: Path) -> None:
        self.page.locator("#pictures input[type=file]").set_input_files([str(file) for file in files])

    def ask_for(self, token: str, steps: str, quality: str = "quick") -> None:
        """Fill the form and press the button."""
        self.fill("#token", token)
        self.fill("#init", "cat")
        self.page.locator("#quality").get_by_text(quality, exact=True).click()
        if not self.page.locator("#setting-steps textarea, #setting-steps input").first.is_visible():
            self.page.get_by_role("button", name="More: every setting").click()
            self.page.get_by_role("button", name=re.compile("^learning")).click()
            self.page.get_by_role("button", name=re.compile("^measuring")).click()
        self.fill("#setting-early_stop", "0")
        self.fill("#setting-steps", steps)
        self.page.locator("#setting-steps textarea, #setting-steps input").first.blur()
        self.click("Train")

    def shoot(self, name: str) -> None:
        if SHOTS:
            self.page.screenshot(path=Path(SHOTS, name), full_page=True)


@pytest.fixture(scope="module")
def page(browser: Any, server: Server) -> Page:
    return Page(browser, server)


def test_pictures_are_dropped_and_looked_at(page: Page, tmp_path: Path) -> None:
    """A bad one is named and left out; names of files are shown, and are none of ours."""
    bad = tmp_path / "..%2fletter.png"
    bad.write_text("Dear cat,")
    page.drop(*sorted(PICTURES.glob("*.png")), bad)
    page.until(lambda: "5 pictures" in page.text("#dataset"))
    assert "Not taken" in page.text("#dataset")
    assert "..%2fletter.png is not a picture" in page.text("#dataset")
    page.page.locator("#sheet img").wait_for()
    folder = page.server.output / ".ui" / "draft"
    assert sorted(path.name for path in folder.iterdir()) == [*(f"{n:04d}.png" for n in range(1, 6)), "names.json"]
    page.shoot("ui-learn.png")


def test_captions_are_edited_in_place(page: Page) -> None:
    page.page.get_by_role("button", name="Captions").click()
    cell = page.page.locator("#captions [data-testid=cell-0-2]")
    cell.dblclick()
    editor = cell.locator("textarea, input")
    editor.fill("a {token} on grass")
    editor.press("Enter")
    caption = page.server.output / ".ui" / "draft" / "0001.txt"
    page.until(caption.exists)
    assert caption.read_text() == "a {token} on grass"


def test_what_is_bad_is_told_before_anything_begins(page: Page) -> None:
    page.ask_for("cat", "4")
    assert "'cat' is already a word of clip_l" in page.error()
    page.ask_for("<../x>", "4")
    assert "'<x>' would do" in page.error()
    page.ask_for("<my-cat>", "six")
    assert "steps is 'six'; give a whole number" in page.error()
    page.fill("#folder", "/etc")
    page.click("Take the folder")
    assert "leads out of the folders" in page.error()
    page.tab("2 Runs")
    assert "my-cat" not in page.text("#runs")
    page.tab("1 Learn")


def test_a_run_is_stopped_and_goes_on(browser: Any, page: Page, server: Server) -> None:
    """Two browsers and a reload see the same; a second run waits behind it."""
    page.ask_for("<my-cat>", "4000")
    page.until(lambda: "my-cat is in the queue" in page.text("#answer"))
    page.ask_for("<my-dog>", "6")
    page.until(lambda: "my-dog is in the queue" in page.text("#answer"))
    page.ask_for("<my-dog>", "6")
    assert "there is a run called my-dog already" in page.error()
    page.tab("2 Runs")
    page.until(lambda: "of 4000" in page.text("#now"))
    page.until(lambda: page.page.locator("#plot img").is_visible() and "step 1 of" not in page.text("#now"))
    page.page.wait_for_timeout(5000) if SHOTS else None
    page.shoot("ui-runs.png")
    other = Page(browser, server)
    other.tab("2 Runs")
    other.until(lambda: "of 4000" in other.text("#now"))
    assert "behind it: my-dog" in other.text("#now")
    page.open()
    page.tab("2 Runs")
    page.until(lambda: "of 4000" in page.text("#now"))
    other.page.close()  # the run does not mind
    page.page.get_by_role("button", name="Stop and save").click()
    page.until(lambda: "it can go on" in page.text("#runs"))
    page.until(lambda: re.search(r"my-dog\s+<my-dog>\s+finished", page.text("#runs")) is not None)

    step = re.search(r"stopped at step (\d+)", page.text("#runs"))
    assert step
    folder = server.output / "my-cat"
    config = folder / "config.yaml"
    config.write_text(re.sub(r"steps: 4000", f"steps: {int(step[1]) + 20}", config.read_text()))
    page.choose("#run", "my-cat")
    page.click("Go on")
    page.until(lambda: re.search(r"my-cat\s+<my-cat>\s+finished", page.text("#runs")) is not None)
    assert page.errors == []


def test_the_word_is_tried_and_taken_away(page: Page, server: Server) -> None:
    page.open()
    page.tab("3 Look")
    page.until(lambda: page.page.locator("#learned input").is_visible())
    page.choose("#learned", "my-cat")
    page.until(lambda: page.page.locator("#before-after img").is_visible())
    assert "WebUIs: cannot load it: no published model has words as wide" in page.text("#where")
    page.fill("#prompts", "a photo of a {token}\nmy-cat in the snow")
    page.click("Draw")
    page.until(lambda: page.page.locator("#drawn img").count() >= 2)
    page.shoot("ui-look.png")
    page.choose("#format", "webui")
    page.click("Make the files")
    page.page.locator("#files a").first.wait_for()
    with page.page.expect_download() as started:
        page.page.locator("#files a").first.click()
    file = Path(started.value.path())
    pipeline = StableDiffusionPipeline.from_pretrained(sample_data(TINY_SD), safety_checker=None)
    pipeline.load_textual_inversion(str(file), token="<my-cat>")
    assert pipeline.tokenizer.tokenize("<my-cat>") == ["<my-cat>"]
    assert page.errors == []


def test_the_report_and_the_end_of_a_run(page: Page, server: Server) -> None:
    page.tab("2 Runs")
    page.choose("#run", "my-dog")
    page.click("Show its report")
    frame = page.page.frame_locator("#report-page iframe")
    frame.get_by_text("<my-dog>").first.wait_for()
    page.click("Delete")
    page.page.get_by_text("There is no way back").wait_for()
    page.click("No")
    assert (server.output / "my-dog").exists()
    page.click("Delete")
    page.click("Yes, delete it")
    page.until(lambda: "my-dog is deleted" in page.text("#runs-answer"))
    assert not (server.output / "my-dog").exists()
    assert not (server.output / "manifest" / "my-dog.json").exists()


def test_a_telephone_and_a_keyboard(browser: Any, server: Server) -> None:
    """400 pixels hold it without a bar at the side, and the tabs and the button are reached with keys."""
    page = Page(browser, server, width=400)
    for tab in ("1 Learn", "2 Runs", "3 Look"):
        page.tab(tab)
        page.page.wait_for_timeout(200)
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 400, tab
        page.shoot(f"ui-400-{tab[0]}.png")
    page.page.get_by_role("tab", name="1 Learn").focus()
    page.page.keyboard.press("Enter")
    page.page.locator("#token textarea, #token input").first.focus()
    page.page.keyboard.type("cat")
    for _ in range(60):
        page.page.keyboard.press("Tab")
        if page.page.evaluate("document.activeElement.id || document.activeElement.parentElement.id") == "train":
            break
    page.page.keyboard.press("Enter")
    assert "'cat' is already a word" in page.error()


def test_nothing_else_is_served(server: Server) -> None:
    """Neither files of this machine nor those of runs by their paths, and nobody else's pages may ask."""
    import urllib.error
    import urllib.request

    for path in ("/etc/passwd", str(server.output / "my-cat" / "config.yaml"), str(REPOSITORY / "README.md")):
        for way in ("gradio_api/file=", "file="):
            with pytest.raises(urllib.error.HTTPError) as answer:
                urllib.request.urlopen(f"{server.address.rstrip('/')}/{way}{path}")
            assert answer.value.code in (403, 404)
            answer.value.close()
