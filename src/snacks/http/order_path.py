"""The order id at the end of a path, as it was sent."""

from typing import Any
from urllib.parse import unquote_to_bytes

from litestar.connection import ASGIConnection


def order_id_of(connection: ASGIConnection[Any, Any, Any, Any], path: str) -> str | None:
    """What follows `path/`, decoded once; None if it is not UTF-8, empty if absent.

    Litestar's own path drops empty segments and trailing slashes, which are part of an id: `a/` is not
    `a`, and `snickers-promotion/` is not the promotion.
    """
    raw: bytes = connection.scope.get("raw_path") or connection.scope["path"].encode()
    try:
        return unquote_to_bytes(raw.partition(f"{path}/".encode())[2]).decode()
    except UnicodeDecodeError:
        return None
