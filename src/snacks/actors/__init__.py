"""Per-order actors: fold CDC records into customer orders, exactly once, in any number of processes.

Read `order.py` (one order), then `orders.py` (those of one partition, in memory), `shard.py` (their
commit cycle), `checkpoint.py` (what makes a cycle durable), `host.py` (the group hands out shards).
"""

from snacks.actors.host import OrderHost
from snacks.actors.status import HostStatus, ShardStatus

__all__ = ["HostStatus", "OrderHost", "ShardStatus"]
