"""A stub of the hub's API that keeps what it is sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import huggingface_hub.constants
import pytest

TOKEN = "hf_secret"


class Hub(ThreadingHTTPServer):
    """A hub that knows one login, me, and keeps what is committed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models: dict[str, dict[str, Any]] = {}
        self.lost = False  # whether the connection is lost once the model is made
        Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = self.answer(body)
        if status:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def answer(self, body: bytes) -> tuple[int, Any]:
        """The status, 0 for a connection that is cut, and what is said."""
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials"}
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if asked["organization"] != "me":
                return 403, {"error": "You don't have the rights"}
            if name in self.server.models:
                return 409, {"error": "You already created this model repo", "url": self.address(name)}
            private = asked.get("private", asked.get("visibility") == "private")  # older and newer clients
            self.server.models[name] = {"private": private, "files": {}}
            return 200, {"url": self.address(name)}
        if self.server.lost:
            return 0, None
        if self.path.endswith("/preupload/main"):
            paths = [file["path"] for file in json.loads(body)["files"]]
            return 200, {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]}
        if self.path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.server.models[name]["files"][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return 200, {"commitUrl": f"{self.address(name)}/commit/1", "commitOid": "1"}

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{name}"

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def stub_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Inside the block the hub is the stub, and the login the one that it knows."""
    stub = Hub()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{stub.server_port}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield stub
    stub.shutdown()
    stub.server_close()
