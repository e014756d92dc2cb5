"""Whole order lives, with repeats, refusals and deletes, over HTTP and by SQL; and what each was answered.

Orders `m-…` only go forwards, by HTTP, and none is deleted. Rows of orders `w-…` come and go by SQL.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import asyncmy
import httpx
from tests.chaos.real.ledger import Ledger
from tests.chaos.real.world import World

from snacks.config import Settings

FORWARD, WILD = "m-", "w-"
ANSWER = 6.0
"""Seconds that a client waits for an answer."""
SQL = 20.0
LATELY = 200
"""Orders that the readers look at again and again."""


class Client(NamedTuple):
    """Of the command side: each with its own connections and its own chance."""

    http: httpx.AsyncClient
    rng: random.Random


class Load:
    """Clients that keep at it until `stop`; `pause` lets each finish the command that it is at."""

    def __init__(self, world: World, seed: int, *, clients: int = 4, think: float = 0.15) -> None:
        self.ledger = Ledger()
        self.lately: list[str] = []
        self.commands = 0
        self._world = world
        self._seed = seed
        self._clients = clients
        self._think = think
        self._go = asyncio.Event()
        self._go.set()
        self._idle = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for number in range(self._clients):
            rng = random.Random(f"{self._seed}-{number}")
            work = self._wild if number == self._clients - 1 else self._forward
            self._tasks.append(asyncio.create_task(work(number, rng)))

    async def pause(self) -> None:
        """Nothing is under way when this returns, except in a process that is frozen."""
        self._go.clear()
        async with asyncio.timeout(60):
            while self._idle < len(self._tasks):
                self.check()
                await asyncio.sleep(0.05)

    def resume(self) -> None:
        self._go.set()

    def check(self) -> None:
        """Raise what ended a client: a defect of the harness."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _turn(self, rng: random.Random) -> None:
        self._idle += 1
        try:
            await asyncio.sleep(rng.uniform(0, 2 * self._think))
            await self._go.wait()
        finally:
            self._idle -= 1
        self.commands += 1

    def _new(self, kind: str, client: int, number: int) -> str:
        order_id = f"{kind}{self._seed}-{client}-{number}"
        self.lately = [*self.lately[-LATELY:], order_id]
        return order_id

    # ── by HTTP ──────────────────────────────────────────────────────────────────────────────────

    async def _forward(self, client: int, rng: random.Random) -> None:
        async with httpx.AsyncClient(timeout=ANSWER, trust_env=False) as http:
            for number in range(1_000_000):
                await self._life(Client(http, rng), self._new(FORWARD, client, number))

    async def _life(self, client: Client, order_id: str) -> None:
        rng = client.rng
        numbers = range(1, rng.randint(2, 4))
        items = [
            {"itemId": str(one), "itemName": f"Snack {one}", "price": 0.25, "quantity": one}
            for one in numbers
        ]
        cell = ("item_name", order_id)
        await self._send(
            client, ("POST", "item-details", {"orderId": order_id, "items": items}), cell, "Snack 1"
        )
        if not await self._written(order_id):
            return  # the answer was lost and so was the command; if it comes late, it is half an order
        self.ledger.answered(("item_status", order_id), "REQUESTED", 200)
        await self._refused(client, order_id)
        for repeat in range(rng.randint(1, 2)):
            await self._place(client, order_id, f"Ada {order_id} {repeat}")
        for repeat in range(rng.randint(1, 2)):
            await self._pay(client, order_id, f"Visa {repeat}", 0.25 * sum(numbers))
        for status in ("FULFILLED", rng.choice(["FULFILLED", "SHIPPED"]), "SHIPPED", "FULFILLED"):
            body = {"orderId": order_id, "itemStatus": status}
            await self._send(client, ("PUT", "item-details", body), ("item_status", order_id), status)

    async def _refused(self, client: Client, order_id: str) -> None:
        """Commands that must be answered 4xx, and then have left nothing."""
        await self._place(client, order_id, f"Nobody {order_id}", latitude=91.0)
        await self._pay(client, order_id, f"Wrong {order_id}", 0.01)
        stranger = f"refused-{order_id}"
        body: dict[str, Any] = {"orderId": stranger, "items": []}
        await self._send(client, ("POST", "item-details", body), ("order_id", stranger), stranger)

    async def _place(self, client: Client, order_id: str, name: str, latitude: float = 40.5) -> None:
        place = {"customerName": name, "customerAddress": "1 Snack St", "zipCode": "08505"}
        body = {"orderId": order_id, **place, "latitude": latitude, "longitude": -74.0}
        await self._send(client, ("POST", "shipping-location", body), ("customer_name", order_id), name)

    async def _pay(self, client: Client, order_id: str, card: str, amount: float) -> None:
        payment = {"paymentType": "CREDIT", "creditCardType": card, "creditCardNumber": "1111-1111-1111-1111"}
        body = {"orderId": order_id, **payment, "amount": amount}
        await self._send(client, ("POST", "payment", body), ("credit_card_type", order_id), card)

    async def _send(
        self, client: Client, command: tuple[str, str, dict[str, Any]], cell: tuple[str, str], value: str
    ) -> None:
        """A command to either process. What it was answered is noted: it would put `value` into `cell`."""
        method, path, body = command
        await self._turn(client.rng)
        member = client.rng.choice(self._world.members)
        try:
            answer = await client.http.request(method, f"{member.url(0)}/api/{path}", json=body)
        except httpx.HTTPError:
            self.ledger.answered(cell, value, None)
        else:
            self.ledger.answered(cell, value, answer.status_code)

    async def _written(self, order_id: str) -> bool:
        """Whether MySQL has items of this order."""
        found = await self._sql([("SELECT COUNT(*) FROM item_detail WHERE order_id = %s", (order_id,))])
        return bool(found[0][0])

    # ── by SQL ───────────────────────────────────────────────────────────────────────────────────

    async def _wild(self, client: int, rng: random.Random) -> None:
        for number in range(1_000_000):
            order_id = self._new(WILD, client, number)
            await self._sql(whole(order_id))
            for _ in range(rng.randint(3, 10)):
                await self._turn(rng)
                await self._sql(rng.choice(CHANGES)(order_id, rng))

    async def _sql(self, statements: list[tuple[str, tuple[Any, ...]]]) -> Any:
        return await insist(self._world.settings, statements)


async def insist(settings: Settings, statements: list[tuple[str, tuple[Any, ...]]]) -> Any:
    """In one transaction past the proxies, tried again until MySQL took it; what the last one found."""
    while True:
        with suppress(OSError, asyncmy.errors.Error, TimeoutError, asyncio.IncompleteReadError):
            return await execute(settings, statements)
        await asyncio.sleep(0.3)


async def execute(
    settings: Settings, statements: list[tuple[str, tuple[Any, ...]]], *, root: bool = False
) -> Any:
    """Statements in one transaction, past the proxies; what the last one found."""
    host, port = settings.mysql
    async with asyncio.timeout(SQL):
        connection = await asyncmy.connect(
            host=host,
            port=port,
            user="root" if root else settings.mysql_user,
            password="" if root else settings.mysql_password,
            db=settings.mysql_database,
        )
        try:
            async with connection.cursor() as cursor:
                for statement, arguments in statements:
                    await cursor.execute(statement, arguments)
                found = await cursor.fetchall()
            await connection.commit()
        finally:
            connection.close()
    return found


Statements = list[tuple[str, tuple[Any, ...]]]
ITEM = "INSERT INTO item_detail (order_id, item_id, item_name, item_status, price, quantity) "
ITEM += "VALUES (%s, %s, %s, %s, 0.5, 2)"
NO_ITEMS = "DELETE FROM item_detail WHERE order_id = %s"
NO_ITEM = "DELETE FROM item_detail WHERE order_id = %s AND item_id = %s"
PLACE = "REPLACE INTO shipping_location "
PLACE += "(order_id, customer_name, customer_address, zip_code, latitude, longitude) "
PLACE += "VALUES (%s, %s, '9 Quay St', '00501', 1.5, -2.5)"
PAYMENT = "REPLACE INTO payment (order_id, payment_type, credit_card_type, credit_card_number, amount) "
PAYMENT += "VALUES (%s, 'CREDIT', %s, '****-****-****-4242', 2)"


def whole(order_id: str) -> Statements:
    """An order that is complete at once: PAID."""
    items: Statements = [(ITEM, (order_id, str(number), "Apple Rings", "REQUESTED")) for number in (1, 2)]
    items.insert(0, (NO_ITEMS, (order_id,)))  # an item goes back only if its row is made anew
    return [*items, (PLACE, (order_id, "Kit")), (PAYMENT, (order_id, "Visa"))]


def _delete(table: str) -> Callable[[str, random.Random], Statements]:
    return lambda order_id, _: [(f"DELETE FROM {table} WHERE order_id = %s", (order_id,))]


CHANGES: list[Callable[[str, random.Random], Statements]] = [
    lambda order_id, _: [(NO_ITEM, (order_id, "3")), (ITEM, (order_id, "3", "Sour Rings", "FULFILLED"))],
    lambda order_id, _: [("UPDATE item_detail SET item_status = 'SHIPPED' WHERE order_id = %s", (order_id,))],
    lambda order_id, rng: [(PLACE, (order_id, f"Kit {rng.randint(1, 99)}"))],
    lambda order_id, rng: [(PAYMENT, (order_id, f"Card {rng.randint(1, 99)}"))],
    lambda order_id, _: whole(order_id),
    lambda order_id, _: [(NO_ITEMS, (order_id,))],
    _delete("shipping_location"),
    _delete("payment"),
    lambda order_id, rng: [(NO_ITEM, (order_id, str(rng.randint(1, 3))))],
]
