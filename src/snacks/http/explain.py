"""Everything known of one order: JSON for programs, a page for people."""

import asyncio

from litestar import Response, Router, get
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException

from snacks.config import Settings
from snacks.documents import Documents
from snacks.domain.cards import mask_cards
from snacks.domain.values import ORDER_ID_LENGTH
from snacks.explain import Explanation, explain
from snacks.http.errors import HttpRequest, documented
from snacks.http.order_path import order_id_of
from snacks.http.pages import page
from snacks.letters import Letters

API, PAGE = "/api/explain", "/explain"


class Explainer:
    """Explains orders, one at a time: each reads whole partitions."""

    def __init__(self, settings: Settings, documents: Documents, letters: Letters) -> None:
        self._settings = settings
        self._parts = (documents, letters)
        self._lock = asyncio.Lock()

    async def ask(self, order_id: str) -> Explanation:
        """See `snacks.explain.explain`."""
        async with self._lock:
            return await explain(self._settings, order_id, *self._parts)


@get(
    "/{orderId:path}",
    operation_id="explainOrder",
    summary="Everything known of one order, and whether it agrees",
    description="Rows in MySQL, change records with what each did, the actor's state, the last aggregate, the"
    " document, dead letters. Reads the order's partition of each topic: seconds where topics are long, and"
    " what was not read within 30 s is named in `problems`.",
    responses={404: documented("Nothing is known of it", "Nothing is known of order brady")},
)
async def explain_order(request: HttpRequest, explainer: NamedDependency[Explainer]) -> Explanation:
    """One order explained."""
    order_id = order_id_of(request, API)
    if order_id is None or not 0 < len(order_id) <= ORDER_ID_LENGTH * 4:
        raise NotFoundException("No order with that id")
    found = await explainer.ask(order_id)
    if not found.known and not found.problems:
        raise NotFoundException(f"Nothing is known of order {mask_cards(order_id)}")
    return found


@get([PAGE, f"{PAGE}/{{orderId:path}}"], include_in_schema=False, sync_to_thread=False)
def explain_page() -> Response[bytes]:
    """The page; its address names the order."""
    return page("explain")


router = Router(
    "/",
    route_handlers=[
        Router(
            API,
            route_handlers=[explain_order],
            response_headers=[ResponseHeader(name="Cache-Control", value="no-store")],
            tags=["Operations"],
        ),
        explain_page,
    ],
)
"""Needs the dependency `explainer: Explainer`."""
