"""MongoDB's sink connector: customer orders from their topic to documents, tombstones to deletions.

The documents are those of the actors without a revision. `redpanda/customer-order.schema.json` tells Connect
the types of the plain JSON in the topic, so money becomes Decimal128.
"""

import msgspec

from snacks.cdc import connector
from snacks.cdc.connector import ConnectorStatus
from snacks.cdc.files import redpanda
from snacks.config import Settings

NAME = "customer-order-sink"


def configuration(settings: Settings) -> dict[str, str]:
    """The connector's configuration, with the settings filled in. It contains no password."""
    schema = msgspec.json.decode(redpanda("customer-order.schema.json").read_bytes())
    values = {
        "$mongo_database": settings.mongo_database,
        "$schema": msgspec.json.encode(schema).decode(),
    }
    raw = msgspec.json.decode(redpanda("connector-mongodb.json").read_bytes(), type=dict[str, str])
    return {name: values.get(value, value) for name, value in raw.items()}


async def apply(settings: Settings) -> ConnectorStatus:
    """Register it if it is not as it should be, and wait until it runs.

    Raises:
        ConnectorError: Connect does not answer in time or refuses; a task fails.
    """
    return (await connector.apply(_named(settings), configuration(settings))).status


async def status(settings: Settings) -> ConnectorStatus:
    """As it is now. Raises ConnectorError if Connect does not answer."""
    return await connector.status(_named(settings))


async def delete(settings: Settings) -> bool:
    """Remove it; False if it was not there. Raises ConnectorError if Connect does not answer."""
    return await connector.delete(_named(settings))


def _named(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, connector=NAME)
