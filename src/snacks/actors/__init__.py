"""Per-order actors: fold CDC records into customer orders, exactly once, in any number of processes.

Read `order.py` (one order), then `orders.py` (those of one partition, in memory), `shard.py` (their
commit cycle), `checkpoint.py` (what makes a cycle durable), `host.py` (the group hands out shards),
`feeding.py` (what they get to read) and `members.py` (which process has which shard).
"""

from snacks.actors.host import OrderHost
from snacks.actors.status import GroupStatus, HostStatus, MemberStatus, ShardStatus

__all__ = ["GroupStatus", "HostStatus", "MemberStatus", "OrderHost", "ShardStatus"]
