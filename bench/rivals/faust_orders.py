"""The customer orders with faust-streaming: three agents, one table. faust_orders.py BROKER GROUP STATE"""

import os
import sys
import time

import faust
from common import TABLES, fold, order, topic

broker, group, state = sys.argv[1:]
sys.argv = sys.argv[:1]
PARTITIONS = 6
app = faust.App(
    group,
    broker=f"kafka://{broker}",
    store="memory://",
    datadir=state,
    topic_partitions=PARTITIONS,
    topic_disable_leader=True,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    producer_acks=-1,
    producer_linger=0.05,
    producer_max_batch_size=262_144,
    stream_buffer_maxsize=16_384,
    stream_wait_empty=False,
)
out = app.topic("customer-order-aggregate", key_type=bytes, value_serializer="json", partitions=PARTITIONS)
orders = app.Table("orders", default=None, partitions=PARTITIONS, key_type=str)
started = False


async def follow(stream: faust.StreamT) -> None:
    global started  # noqa: PLW0603
    async for value in stream:
        if not started:
            started = True
            os.write(1, f"MARK start {time.time()}\n".encode())  # faust makes log lines of what is printed
        row = value.get("payload", value)
        order_id = row["order_id"]
        rows = fold(orders.get(order_id), row)
        orders[order_id] = rows
        made = order(rows)
        if made:
            await out.send(key=order_id.encode(), value=made)


for table in TABLES:
    app.agent(app.topic(topic(table), key_type=bytes, value_serializer="json"), name=table)(follow)

if __name__ == "__main__":
    faust.Worker(app, loglevel="WARN").execute_from_commandline()
