"""Change data capture: what a Debezium record means, which topics there are, and our connector.

This package itself offers only the decoding, which knows no client; `snacks.cdc.topics` and
`snacks.cdc.connector` talk to the broker and to Kafka Connect.
"""

from snacks.cdc.columns import Undecodable
from snacks.cdc.decode import CDC_TOPICS, Truncated, decode, table_of

__all__ = ["CDC_TOPICS", "Truncated", "Undecodable", "decode", "table_of"]
