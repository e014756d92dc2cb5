"""The customer orders with quixstreams: one stateful fold, keyed by order id. quix.py BROKER GROUP STATE"""

import sys
import time

from common import TABLES, fold, order, topic
from quixstreams import Application
from quixstreams.models.serializers import JSONDeserializer, SerializationContext
from quixstreams.state import State

broker, group, state = sys.argv[1:]
app = Application(
    broker_address=broker,
    consumer_group=group,
    auto_offset_reset="earliest",
    state_dir=state,
    loglevel="WARNING",
    producer_extra_config={"linger.ms": 5, "compression.type": "snappy"},
)
out = app.topic("customer-order-aggregate", key_serializer="str", value_serializer="json")
started = False


def apply(row: dict, rows: State) -> dict | None:
    global started  # noqa: PLW0603
    if not started:
        started = True
        print("MARK start", time.time(), flush=True)
    kept = fold(rows.get("rows"), row)
    rows.set("rows", kept)
    return order(kept)


class OrderKey(JSONDeserializer):
    """The order id of any table's key: the topics are routed by it, so nothing has to move."""

    def __call__(self, value: bytes, ctx: SerializationContext) -> str:
        key = super().__call__(value, ctx)
        return key.get("payload", key)["order_id"]


first, second, third = (
    app.dataframe(app.topic(topic(name), key_deserializer=OrderKey(), value_deserializer="json"))
    for name in TABLES
)
frame = first.concat(second).concat(third)
frame = frame.apply(lambda value: value.get("payload", value))
frame = frame.apply(apply, stateful=True).filter(lambda value: value is not None)
frame.to_topic(out)
app.run()
