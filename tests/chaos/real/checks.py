"""What must hold once the load rests and everything is healed. Pure: each takes what was read, and counts."""

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from aiokafka import ConsumerRecord
from tests import oracle

from snacks.cdc import Truncated, Undecodable, decode, table_of
from snacks.domain.order import NEW, IncompleteRow, OrderState, encode, fold, project
from snacks.repair import stored

Found = tuple[int, list[str]]
"""How much was compared, and what is wrong."""
Topic = Mapping[str, tuple[int, bytes | None]]
"""By order id the topic's last revision and value."""


def mongodb_equals_mysql(tables: oracle.Tables, documents: Mapping[str, bytes]) -> Found:
    """The documents are the oracle's fold of the rows. `documents`: BSON by order id."""
    expected = oracle.documents(tables)
    held = {}
    for order_id, document in documents.items():
        order = stored.opened(document)["customerOrder"]
        order.pop("modifiedDate")
        held[order_id] = order
    return len(expected), oracle.differences(expected, held)


def topic_equals_mongodb(topic: Topic, documents: Mapping[str, bytes]) -> Found:
    """The last value of each key is the document, to the digit, with its revision."""
    wrong = []
    for order_id in sorted(topic.keys() | documents.keys()):
        revision, value = topic.get(order_id, (0, None))
        document = stored.opened(documents[order_id]) if order_id in documents else None
        if (value is None) != (document is None):
            wrong.append(
                f"{order_id}: topic {_brief(value)}, MongoDB {document and document['customerOrder']}"
            )
        elif value is not None and document is not None:
            if json.loads(value, parse_float=Decimal) != _numbers(document["customerOrder"]):
                wrong.append(f"{order_id}: topic {_brief(value)}, MongoDB {document['customerOrder']}")
            elif revision != document["revision"]:
                wrong.append(
                    f"{order_id}: revision {revision} on the topic, {document['revision']} in MongoDB"
                )
    return len(topic), wrong


def _numbers(value: Any) -> Any:
    """Floats (places on earth) as the decimals that JSON shows for them."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {key: _numbers(one) for key, one in value.items()}
    return [_numbers(one) for one in value] if isinstance(value, list) else value


def rebuilding_gives_the_same(
    records: Sequence[ConsumerRecord], topic: Topic, documents: Mapping[str, bytes]
) -> Found:
    """Folding all records again gives topic and MongoDB, byte by byte."""
    wrong = []
    states = folded(records)
    for order_id in sorted(states.keys() | documents.keys() | topic.keys()):
        state = states.get(order_id, NEW)
        order = project(order_id, state)
        value = None if order is None else encode(order)
        document = None if order is None else stored.document(order_id, state.revision, order)
        published = topic.get(order_id, (0, None))[1]
        if published != value:
            wrong.append(f"{order_id}: rebuilt {_brief(value)}, topic {_brief(published)}")
        if documents.get(order_id) != document:
            wrong.append(f"{order_id}: rebuilt {document!r:.400}, MongoDB {documents.get(order_id)!r:.400}")
    return len(states), wrong


def folded(records: Sequence[ConsumerRecord]) -> dict[str, OrderState]:
    """The states that these records of the CDC topics make."""
    states: dict[str, OrderState] = {}
    for record in records:
        table = table_of(record.topic)
        try:
            change = None if table is None else decode(table, record.key, record.value, record.timestamp)
            if change is not None and not isinstance(change, Truncated):
                states[change.order_id] = fold(states.get(change.order_id, NEW), change)
        except (Undecodable, IncompleteRow):
            continue  # set aside by the actors too
    return states


def recovery_in_time(seconds: Sequence[float], limit: float) -> Found:
    """99 of 100 times (or always, if there were fewer) all was converged within `limit` of healing."""
    late = [one for one in seconds if one > limit] if percentile(seconds, 0.99) > limit else []
    wrong = [f"converged {one:.1f} s after healing, allowed are {limit:g} s" for one in late]
    return len(seconds), wrong


def percentile(seconds: Sequence[float], share: float) -> float:
    """The smallest value that at least this share does not exceed; 0 if there are none."""
    return sorted(seconds)[math.ceil(len(seconds) * share) - 1] if seconds else 0.0


def resources_back(before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]) -> Found:
    """Descriptors, tasks and memory are what they were in the beginning, give or take."""
    slack = {"descriptors": 30, "tasks": 30, "memory_mb": 100}
    wrong = []
    for process, held in now.items():
        for what, value in held.items():
            base = before[process][what]
            if value < 0:
                wrong.append(f"process {process}: {what} are not known")
            elif value > base + slack[what]:
                wrong.append(f"process {process}: {what} were {base}, now {value}")
    return sum(len(held) for held in now.values()), wrong


def faults_hit(hits: Sequence[tuple[str, str]]) -> Found:
    """Each fault has its evidence. `hits`: what was done, and the evidence; none if it hit nobody."""
    return len(hits), [f"{what}: hit nobody" for what, evidence in hits if not evidence]


def _brief(value: bytes | None) -> str:
    return "nothing" if value is None else value.decode()[:300]
