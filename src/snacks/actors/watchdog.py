"""Notices from outside that something stopped without an error: the consumer, or a shard.

aiokafka works in tasks of its own. If one of them dies or hangs, the consumer neither raises nor reads, or
it reads on although the group has long given its shards to others. So the watchdog looks at what must change
while all is well, and asks the broker over connections of its own what it thinks of this member.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import NamedTuple

from aiokafka.errors import KafkaError

from snacks.actors.status import GroupStatus

LOOK_EVERY = 1.0
ASK_EVERY = 5.0
ANSWER_WITHIN = 5.0
"""Seconds between two looks, between two questions to the broker, and how long it may think about one."""


class Stalled(Exception):  # noqa: N818  (a state, named like one)
    """Something stopped without an error; the message says what. A new consumer is the remedy."""


class Sign(NamedTuple):
    """Something that changes as long as all is well: `value` is another one at the next look.

    `what`: what has stopped if it does not. `broker`: it may stand still while the broker is away.
    """

    what: str
    value: Hashable
    broker: bool = False


class Watchdog:
    """Looks at one consumer's life. `run` ends only by `Stalled`, or cancelled."""

    def __init__(
        self,
        patience: float,
        signs: Callable[[], Iterable[Sign]],
        shards: Callable[[], Iterable[int]],
        ask: Callable[[], Awaitable[GroupStatus]],
        member: str,
    ) -> None:
        """`patience`: seconds for which a sign may stand still. `shards`: those that this process holds.

        `ask`: what the broker says of the group, over other connections. `member`: our client id in it.
        """
        self.problem = ""
        self._patience = patience
        self._signs = signs
        self._shards = shards
        self._ask = ask
        self._member = member
        self._since: dict[str, float] = {}
        self._seen: dict[str, Hashable] = {}
        self._answers = self._apart = False

    async def run(self) -> None:
        """Look until something has stopped.

        Raises:
            Stalled: it has stood still for as long as there is patience.
        """
        loop = asyncio.get_running_loop()
        asking: asyncio.Task[None] | None = None
        ask_at = loop.time()
        try:
            while True:
                if (asking is None or asking.done()) and loop.time() >= ask_at:
                    asking = asyncio.create_task(self._listen())
                    ask_at = loop.time() + ASK_EVERY
                await asyncio.sleep(LOOK_EVERY)
                self.look(loop.time())
        finally:
            if asking is not None:
                asking.cancel()

    def look(self, now: float) -> None:
        """Compare every sign with the last look; `now` is in seconds. Raises `Stalled`."""
        signs = list(self._signs())
        still = [
            sign.what
            for sign in signs
            if self._seen.get(sign.what) == sign.value and (self._answers or not sign.broker)
        ]
        self._seen = {sign.what: sign.value for sign in signs}
        if self._apart:
            still.append("the broker has given this process other shards than it holds")
        self._since = {what: self._since.get(what, now) for what in still}
        for what, since in self._since.items():
            if now - since >= self._patience:
                raise Stalled(f"{what}, for {self._patience:g} s")

    async def _listen(self) -> None:
        """Ask the broker for its view of the group; one that does not answer is no proof of anything."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                group = await self._ask()
        except (KafkaError, OSError, TimeoutError) as error:
            self.problem = f"the broker does not answer: {error!r}"[:300]
            self._answers = self._apart = False
        else:
            self.problem, self._answers = "", True
            given = {n for one in group.members if one.client_id == self._member for n in one.shards}
            self._apart = not group.state.endswith("Rebalance") and given != set(self._shards())
