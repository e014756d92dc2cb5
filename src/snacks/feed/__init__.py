"""The live feed: the newest state of every order, tailed from the aggregate topic, for subscribers to follow.

Every process has its own, so it is right with any number of processes and with either engine. `Feed` reads
the topic, `Present` holds what it said, a `Subscription` is one reader's place in it.
"""

from snacks.feed.cursor import Cursor, decode_cursor
from snacks.feed.present import Change, Present
from snacks.feed.subscription import Ended, Subscription, subscribe
from snacks.feed.tail import Behind, Closed, Feed, FeedStatus, Full

__all__ = [
    "Behind",
    "Change",
    "Closed",
    "Cursor",
    "Ended",
    "Feed",
    "FeedStatus",
    "Full",
    "Present",
    "Subscription",
    "decode_cursor",
    "subscribe",
]
