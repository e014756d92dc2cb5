"""One order as repair sees it: what MySQL says, what each part holds, and the order once it is repaired."""

from typing import Any

from snacks.actors.order import OrderActor, Outcome
from snacks.cdc import decode, table_of
from snacks.cdc.columns import COLUMNS
from snacks.domain.order import NEW, ROWS, OrderState, RowChange, encode, fold, project
from snacks.repair.evidence import Evidence, by_mysql
from snacks.repair.rows import Moment, Rows
from snacks.repair.spool import Known
from snacks.repair.stored import document
from tests.given import EPOCH, Log, item, payment, place

LATER = Moment(EPOCH + 60_000, (1, 9_000))


def state_of(*rows: Any, **options: Any) -> OrderState:
    state = NEW
    for record in Log().rows(*rows, **options):
        change = decode(table_of(record.topic) or "", record.key, record.value, record.timestamp)
        assert isinstance(change, RowChange)
        state = fold(state, change)
    return state


def mysql(*rows: Any) -> Rows:
    found = Rows({})
    for table, key, columns in rows:
        values = [column.read(column.name, columns[column.name]) for column in COLUMNS[table]]
        found.rows[table, key.get("item_id", "")] = ROWS[table](*values)
    return found


def known(state: OrderState) -> tuple[Known, bytes | None]:
    """All parts as they are when they agree with the state."""
    order = project("kit-1", state)
    shown = None if order is None else document("kit-1", state.revision, order)
    return Known(0, encode(state), None if order is None else encode(order)), shown


def judged(state: OrderState, *rows: Any, **other: Any) -> Evidence:
    have, shown = known(state)
    have.topic = other.get("topic", have.topic)
    return by_mysql("kit-1", mysql(*rows), LATER, have, other.get("document", shown))


async def repaired(one: Evidence) -> tuple[OrderState, Outcome | None]:
    """The order after its actor had the repair records, as they go over the wire."""
    actor, outcome = OrderActor(one.order_id, one.state), None
    for record in one.repair():
        change = decode(table_of(record.topic) or "", record.key, record.value, EPOCH + 70_000)
        assert isinstance(change, RowChange)
        outcome = await actor.receive([change], []) or outcome
    return actor.state, outcome


WHOLE = (item(), place(), payment())
