"""What holds for any changes and any reader of the feed, and for any cursor."""

from hypothesis import given
from hypothesis import strategies as st
from tests.feeding import Topic, knowing, reading, told

from snacks.domain.values import OrderStatus
from snacks.feed import Cursor, decode_cursor
from snacks.feed.cursor import encode_cursor

IDS = st.sampled_from(["a", "b", "c", "d", "e"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), IDS, st.sampled_from([*OrderStatus, None])),
        st.tuples(st.just("read"), st.just(""), st.none()),
        st.tuples(st.just("away"), st.just(""), st.none()),
        st.tuples(st.just("moved"), st.just(""), st.none()),
    ),
    max_size=60,
)


def newest(topic: Topic) -> dict[str, int | None]:
    """By order: its newest revision, None if it is gone."""
    return {change.order_id: change.revision if change.status else None for change in topic.records}


@given(STEPS)
async def test_whatever_is_coalesced_each_order_is_told_rising_revisions_that_end_with_the_newest(
    steps: list[tuple[str, str, str | None]],
) -> None:
    """A reader that reads now and then, goes away and comes back, here or on another process."""
    topic, known, cursor = Topic(), dict[str, int | None](), ""
    present = knowing([])
    reader = reading(present)
    last: dict[str, int] = {}

    async def read() -> None:
        nonlocal cursor
        for message in await told(reader):
            cursor = message.get("cursor", cursor)
            if message["type"] in ("order", "gone"):
                assert message["revision"] > last.get(message["orderId"], 0)
                last[message["orderId"]] = message["revision"]
                known[message["orderId"]] = message["revision"] if message["type"] == "order" else None
            if message["type"] == "hello":
                assert message["resumed"] or not known

    for kind, order_id, status in steps:
        if kind == "change":
            present.apply([topic.put(order_id, status)])
        elif kind == "read":
            await read()
        else:
            reader.close()
            if kind == "moved":
                present = knowing(topic.by_partition())
            reader = reading(present, cursor=cursor)
    await read()
    alive = {order_id: revision for order_id, revision in known.items() if revision is not None}
    assert alive == {order_id: revision for order_id, revision in newest(topic).items() if revision}


@given(st.lists(st.tuples(IDS, st.sampled_from([*OrderStatus, None])), max_size=40), st.data())
async def test_a_filtered_reader_knows_exactly_the_orders_with_its_status(
    changes: list[tuple[str, str | None]], data: st.DataObject
) -> None:
    topic = Topic()
    present = knowing([])
    reader = reading(present, status=OrderStatus.PAID)
    known: set[str] = set()
    for order_id, status in [*changes, ("z", "PENDING")]:
        present.apply([topic.put(order_id, status)])
        if data.draw(st.booleans()):
            continue
        for message in await told(reader):
            if message["type"] == "order":
                known.add(message["orderId"])
            elif message["type"] in ("left", "gone"):
                assert message["orderId"] in known
                known.discard(message["orderId"])
        assert known == {one for one, held in present.orders.items() if held.change.status == "PAID"}


@given(st.integers(0, 2**53), st.lists(st.integers(0, 2**53), max_size=10))
def test_a_cursor_is_read_as_it_was_written(newest_: int, offsets: list[int]) -> None:
    assert decode_cursor(encode_cursor(newest_, offsets)) == Cursor(newest_, tuple(offsets))


@given(st.text())
def test_any_text_is_a_cursor_or_is_none(text: str) -> None:
    decode_cursor(text)
