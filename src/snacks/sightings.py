"""What the demo sees on the topics: when each hop of an order was first there."""

import asyncio
import time
from contextlib import suppress

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from snacks.cdc.topics import AGGREGATES, CDC_TOPICS
from snacks.config import Settings
from snacks.domain.order import decode_order


class Key(Struct):
    """The order id in a CDC record's key."""

    order_id: str


class Sightings:
    """Watches the topics: when the newest CDC record and each status of an order were first seen."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka,
            client_id="snacks-demo",
            isolation_level="read_committed",
            fetch_max_wait_ms=20,
        )
        self._settings = settings
        self.captured: dict[str, float] = {}
        self.published: dict[tuple[str, str], float] = {}
        self._news = asyncio.Condition()
        self._key = msgspec.json.Decoder(Key)

    async def start(self) -> None:
        """Read from the end of the CDC topics and of the aggregate topic on.

        Raises:
            KafkaError: the broker does not answer.
        """
        topics = (*CDC_TOPICS, AGGREGATES)
        sources = [
            TopicPartition(topic, part) for topic in topics for part in range(self._settings.partitions)
        ]
        try:
            await self._consumer.start()
            self._consumer.assign(sources)
            await self._consumer.seek_to_end(*sources)
        except BaseException:
            await self._consumer.stop()
            raise

    async def run(self) -> None:
        """Note what comes until cancelled."""
        try:
            while True:
                batch = await self._consumer.getmany(timeout_ms=500)
                now = time.perf_counter()
                for source, records in batch.items():
                    for record in records:
                        if source.topic == AGGREGATES:
                            if record.value is not None:
                                order = decode_order(record.value)
                                self.published.setdefault((order.order_id, order.order_status), now)
                        elif record.key is not None:
                            self.captured[self._key.decode(record.key).order_id] = now
                if batch:
                    async with self._news:
                        self._news.notify_all()
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._consumer.stop(), 2)

    async def wait_published(self, order_id: str, status: str) -> float:
        """When the order was first published with this status."""
        async with self._news:
            await self._news.wait_for(lambda: (order_id, status) in self.published)
        return self.published[order_id, status]
