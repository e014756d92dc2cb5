"""The other engine: Flink SQL folds the changes into orders, MongoDB's sink connector stores them.

`sql/` is what the job does, `job.py` submits and watches it, `sink.py` the connector, `engine.py` keeps
both going for the app, `gateway.py` speaks to Flink's SQL gateway.
"""

from snacks.flink.engine import FlinkEngine, FlinkStatus
from snacks.flink.gateway import FlinkError

__all__ = ["FlinkEngine", "FlinkError", "FlinkStatus"]
