"""deploy/Caddyfile, run by the real Caddy with a certificate of its own, in front of the real app."""

import asyncio
import os
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import msgspec
import pytest
from msgspec.structs import replace
from tests import tools
from tests.e2e.app_process import ROOT, App, serving
from tests.waiting import until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from snacks.platform import Platform, process

USER, PASSWORD = "kit", "pretzels for all"


class Site:
    """Where Caddy answers, and the authority that signed its certificate."""

    def __init__(self, port: int, authority: Path) -> None:
        self.name, self.url = f"localhost:{port}", f"https://localhost:{port}"
        self.authority = authority

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)

    def client(self, password: str | None = PASSWORD) -> httpx.AsyncClient:
        login = httpx.BasicAuth(USER, password) if password else None
        return httpx.AsyncClient(base_url=self.url, verify=self.tls, auth=login, timeout=10, trust_env=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
async def app(platform: Platform) -> AsyncIterator[App]:
    async with serving(replace(platform.settings, allowed_hosts=("localhost",))) as running:
        yield running


@pytest.fixture(scope="module")
async def site(app: App, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("caddy")
    program = tools.caddy()
    hashing: list[str | Path] = [program, "hash-password", "--plaintext", PASSWORD]
    hashed = await asyncio.to_thread(subprocess.check_output, hashing, text=True, timeout=30)
    port = free_port()
    text = (ROOT / "deploy/Caddyfile").read_text("utf-8")
    # Loopback only, and no second port for redirects: a test has neither port 80 nor the network.
    text = text.replace(
        "{\n\tadmin off", "{\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n\tadmin off"
    )
    (folder / "Caddyfile").write_text(text, "utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "SNACKS_SITE": f"localhost:{port}",
        "SNACKS_USER": USER,
        "SNACKS_PASSWORD_HASH": hashed.strip(),
        "SNACKS_APP": app.url(3).removeprefix("http://"),
    }
    log = folder / "log"
    argv: list[str | Path] = [
        "env",
        "-i",
        *(f"{name}={value}" for name, value in environment.items()),
        program,
    ]
    argv += ["run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]
    child = process.spawn(argv, log=log)
    here = Site(port, folder / "caddy/pki/authorities/local/root.crt")

    async def answers() -> bool:
        assert child.poll() is None, process.log_tail(log, 30)
        with suppress(OSError, httpx.HTTPError):
            async with here.client() as client:
                return (await client.get("/health/live")).is_success
        return False

    try:
        await until(answers)
        yield here
    finally:
        await process.stop(child, 10)


@pytest.mark.parametrize("path", ["/", "/api/orders?status=PAID", "/health/ready", "/promotion"])
async def test_nothing_is_shown_without_the_password(site: Site, path: str) -> None:
    async with site.client(password=None) as client:
        assert (await client.get(path)).status_code == 401
    async with site.client(password="guess") as client:
        assert (await client.get(path)).status_code == 401


async def test_commands_and_queries_work_over_tls(site: Site) -> None:
    order = {"items": [{"itemId": "1", "itemName": "Pretzels", "price": 0.5, "quantity": 1}]}
    async with site.client() as client:
        answer = await client.post("/api/item-details", json=order)
        assert answer.status_code == 200, answer.text
        assert (await client.get("/")).headers["content-type"].startswith("text/html")


async def test_a_page_of_the_site_changes_something_and_one_of_another_site_does_not(site: Site) -> None:
    order = {"items": [{"itemId": "1", "itemName": "Pretzels", "price": 0.5, "quantity": 1}]}
    async with site.client() as client:
        for origin, status in ((site.url, 200), ("https://elsewhere.example", 403)):
            answer = await client.post("/api/item-details", json=order, headers={"Origin": origin})
            assert answer.status_code == status, answer.text


async def test_the_order_stream_passes_and_only_to_pages_of_the_site(site: Site) -> None:
    login = httpx.BasicAuth(USER, PASSWORD)._auth_header
    headers = {"Authorization": login, "Origin": site.url}
    address = f"wss://{site.name}/ws/orders"
    async with connect(address, ssl=site.tls, additional_headers=headers, proxy=None) as stream:
        async with asyncio.timeout(15):
            assert msgspec.json.decode(await stream.recv())["type"] == "hello"
    elsewhere = headers | {"Origin": "https://elsewhere.example"}
    with pytest.raises(InvalidStatus) as refused:
        async with connect(address, ssl=site.tls, additional_headers=elsewhere, proxy=None):
            pass
    assert refused.value.response.status_code == 403


async def test_events_are_not_held_back(site: Site) -> None:
    async with (
        site.client() as client,
        client.stream("GET", "/api/orders/stream") as answer,
        asyncio.timeout(15),
    ):
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if re.match(r"data:", line):
                break


def test_the_units_and_the_page_agree_on_names() -> None:
    units = {path.name: path.read_text("utf-8") for path in (ROOT / "deploy").glob("*.service")}
    page = (ROOT / "docs/cloud.md").read_text("utf-8")
    assert set(units) == {"snacks.service", "snacks-servers.service"}
    assert all(name in page for name in units)
    assert "Requires=snacks-servers.service" in units["snacks.service"]
    folders = set(re.findall(r"WorkingDirectory=(\S+)", "".join(units.values())))
    assert len(folders) == 1
    assert folders.pop() in page
