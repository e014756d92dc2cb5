"""The order id at the end of a path, as it was sent."""

from urllib.parse import unquote_to_bytes

from litestar import Request
from litestar.datastructures import State


def order_id_of(request: Request[object, object, State], path: str) -> str | None:
    """What follows `path/`, decoded once; None if it is not UTF-8. Litestar's own drops empty segments."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    try:
        return unquote_to_bytes(raw.partition(f"{path}/".encode())[2]).decode()
    except UnicodeDecodeError:
        return None
