"""A proxy of the environment is for downloads: what asks our own servers goes past it."""

import ast
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from snacks import config, report

ROOT = Path(__file__).parents[2]
DEAD = "http://127.0.0.1:9"
SCHEMES = ("http", "https", "all")
PROXIES = {name: DEAD for one in SCHEMES for name in (f"{one}_proxy", f"{one.upper()}_PROXY")}
METHODS = ("delete", "get", "head", "options", "patch", "post", "put", "request", "stream")
ASKING = {f"httpx.{name}" for name in ("AsyncClient", "Client", *METHODS)}


class App(BaseHTTPRequestHandler):
    """Answers as the app does when it is asked for its dead letters or its health."""

    def do_GET(self) -> None:
        body = json.dumps({"total": 7, "reasons": {"not-json": 7}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), App) as server:
        serving = threading.Thread(target=server.serve_forever, args=[0.05])
        serving.start()
        yield server.server_port
        server.shutdown()
        serving.join(10)


def test_status_reaches_the_app_past_a_proxy(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    settings = config.load({"SNACKS_HTTP_PORTS": str(port)})
    assert report.letters_line(settings).startswith("Dead letters: 7 (7 not-json)")


def test_the_image_checks_its_health_past_a_proxy(port: int) -> None:
    image = (ROOT / "Dockerfile").read_text("utf-8")
    found = re.search(r"^HEALTHCHECK .*\n *CMD (\[.*\])$", image, re.MULTILINE)
    assert found
    _, *arguments = json.loads(found[1].replace("8802", str(port)))
    done = subprocess.run(
        [sys.executable, *arguments], env=PROXIES, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_client_of_ours_goes_past_proxies() -> None:
    found = 0
    for path in (path for folder in ("src", "bench", "tests") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            assert not (isinstance(node, ast.ImportFrom) and node.module == "httpx"), f"{where}: say httpx.…"
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ASKING:
                found += 1
                # One with a transport of its own asks no proxy.
                past = [
                    one.arg == "transport" or ast.unparse(one) == "trust_env=False" for one in node.keywords
                ]
                assert any(past), f"{where}: add trust_env=False"
    assert found
