"""Repair: compare MySQL, the actors' states, the topic and MongoDB, order by order, and put them right.

Read `evidence.py` (what is known of one order, and what is wrong with it), then `rows.py`, `spool.py` and
`stored.py` (where it is read), `reconcile.py` and `rebuild.py` (the two commands), `sample.py` (the timer).
The rules are in docs/repair.md.
"""

from snacks.repair.errors import RepairError

__all__ = ["RepairError"]
