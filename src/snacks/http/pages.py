"""The pages: files of our own in `static`, nothing from anywhere else, no build step."""

from pathlib import Path

from litestar import Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.enums import MediaType
from litestar.static_files import create_static_files_router

STATIC = Path(__file__).parent / "static"
HEADERS = {
    # Nothing but our own files: no inline script, no other host.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'self'",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}


def page(name: str) -> Response[bytes]:
    """The page `static/<name>.html`, allowed to load only our own files."""
    content = (STATIC / f"{name}.html").read_bytes()
    return Response(content, media_type=MediaType.HTML, headers=HEADERS)


@get("/", include_in_schema=False, sync_to_thread=False)
def board() -> Response[bytes]:
    """The board, "the kitchen": orders as they move, and the system that moves them."""
    return page("board")


@get("/start", include_in_schema=False, sync_to_thread=False)
def start() -> Response[bytes]:
    """All addresses: where to look."""
    return page("start")


@get(
    ["/promotion", *(f"/promotion/{screen}" for screen in ("where", "penny", "sent"))],
    include_in_schema=False,
    sync_to_thread=False,
)
def promotion() -> Response[bytes]:
    """The wish for a Snickers. Its four screens are one page that looks at its own address."""
    return page("promotion")


static = create_static_files_router(
    path="/static",
    directories=[STATIC],
    cache_control=CacheControlHeader(no_cache=True),
    include_in_schema=False,
)

router = Router("/", route_handlers=[board, start, promotion])
"""The pages load files of `static`."""
