"""The server of the page."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, cast

from ..errors import BadInput, Interrupted
from ..files.wording import flag
from .quick_import import without_stubs

if TYPE_CHECKING:
    from gradio import Blocks

    from .studio import Studio

Login = tuple[str, str]  # name and password

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_BYTES = "100mb"  # of an uploaded file


def serve(
    work: str | None,
    output: str,
    roots: Sequence[str],
    host: str,
    port: int,
    auth: str | None,
    models_dir: str | None = None,
    inbrowser: bool = False,
) -> None:
    """Serve the page until a signal comes; runs at work are saved then.

    work: for copies of pictures, by default a folder beside the runs; roots: folders from which the page may read;
    auth: NAME:PASSWORD, or @FILE with that in it, without which only this machine may ask. Raises BadInput.
    """
    login = read_login(auth)
    if host not in LOOPBACK and login is None:
        raise BadInput(f"{flag('host', host)} lets other machines in: add {flag('auth', 'NAME:PASSWORD')}")
    place = Path(work or Path(output) / ".ui")
    place.mkdir(parents=True, exist_ok=True)
    uploads = tempfile.mkdtemp(prefix="uploads-", dir=place)
    os.environ["GRADIO_TEMP_DIR"] = uploads
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        with without_stubs():
            from .page import CSS, build
    except ImportError as error:
        cure = "pip install 'ti-trainer[ui]'"
        raise BadInput(f"the page needs a package that is not installed: {cure} ({error})") from None
    from .waking import Waking

    def make() -> Studio:
        from .studio import Studio

        return Studio(place.resolve(), Path(output).resolve(), roots, models_dir)

    studio = Waking(make)
    page = build(cast("Studio", studio))
    address = launch(page, host, port, login, [str(place.resolve() / "downloads")], inbrowser, CSS)
    studio.wake()
    print(f"the page is at {address}  (Ctrl-C ends it; runs are saved)", flush=True)
    received = wait_for_signal()
    with suppress(Exception):
        page.close(verbose=False)
    studio.queue.close()
    shutil.rmtree(uploads, ignore_errors=True)
    raise Interrupted("the page is closed, and runs are saved", received)


def launch(
    page: Blocks, host: str, port: int, login: Login | None, served: list[str], inbrowser: bool, css: str
) -> str:
    """Start the server; returns its address. served: the folders from which files are given out. Raises BadInput."""
    page.queue(default_concurrency_limit=4)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or None,
            auth=login,
            share=False,
            inbrowser=inbrowser,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            css=css,
            max_file_size=MOST_BYTES,
            allowed_paths=served,
            footer_links=[],
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
        )
    except OSError as error:
        raise BadInput(f"{flag('port', port)} cannot be taken: {error}; choose another one") from None
    return str(address)


def wait_for_signal() -> int:
    """Wait until somebody wants the server to end; returns the signal."""
    came = threading.Event()
    received: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        received.append(number)
        came.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, take)
    while not came.wait(0.5):
        pass
    return received[0]


def read_login(auth: str | None) -> Login | None:
    """Name and password; raises BadInput for what is none."""
    if auth is None:
        return None
    text = auth
    if auth.startswith("@"):
        try:
            text = Path(auth[1:]).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise BadInput(f"{flag('auth', auth)} cannot be read: {error.strerror}") from None
    name, _, password = text.partition(":")
    if not name or len(password) < 8:
        raise BadInput(f"{flag('auth')} wants NAME:PASSWORD, with a password of 8 letters or more")
    return name, password
