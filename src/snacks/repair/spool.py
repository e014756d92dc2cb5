"""A file of its own for what is compared: topics are not sorted, and memory must not grow with the orders.

One SQLite file with a row for each order: the actor's state and the aggregate as their topics last had
them, and what a rebuild folded; where each topic is read on from, written together with what was read.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from msgspec import Struct

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, partition INTEGER, state BLOB, topic BLOB, folded BLOB, folded_partition INTEGER,
    split INTEGER);
CREATE INDEX IF NOT EXISTS splits ON orders (id) WHERE split IS NOT NULL;
CREATE TABLE IF NOT EXISTS offsets (
    topic TEXT, partition INTEGER, next INTEGER, PRIMARY KEY (topic, partition));
CREATE TABLE IF NOT EXISTS suspects (id TEXT PRIMARY KEY, evidence TEXT, stage INTEGER);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
"""
CACHE_KIB = 32 * 1024
LOCK_WAIT = 2.0
LOOKED, CONFIRMED, SENT = 0, 1, 2
"""A suspect's stages: seen to differ, seen so while nothing was under way, repaired but not checked."""


class Known(Struct):
    """What the spool has of an order: state and aggregate as in their topics, and what was folded."""

    partition: int | None = None
    state: bytes | None = None
    topic: bytes | None = None
    folded: bytes | None = None
    folded_partition: int | None = None


class Spool:
    """Owns the file. Use as `with Spool(path)`; everything up to the last `save` survives a kill."""

    def __init__(self, path: Path, *, alone: bool = False) -> None:
        """`alone`: nobody else may have it open; raises sqlite3.OperationalError if somebody has."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(path, timeout=LOCK_WAIT)
        self._file.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if alone:
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.executescript(SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.rollback()
        self._file.close()

    @staticmethod
    def delete(path: Path) -> None:
        """Delete the file of a closed spool; it need not be there."""
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)

    def save(self) -> None:
        """All that was written since the last time, or nothing of it."""
        self._file.commit()

    # ── what topics say ──────────────────────────────────────────────────────────────────────────

    def offsets(self) -> dict[tuple[str, int], int]:
        """Where to read on, by topic and partition."""
        return {(topic, partition): n for topic, partition, n in self._file.execute("SELECT * FROM offsets")}

    def read_to(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Remember where to read on."""
        rows = [(topic, partition, n) for (topic, partition), n in offsets.items()]
        self._file.executemany("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)", rows)

    def states(self, values: Mapping[str, tuple[int, bytes | None]]) -> None:
        """Each order's partition and state as the checkpoint has them now; a second partition is noted."""
        rows = [(order_id, where, value) for order_id, (where, value) in values.items()]
        self._file.executemany(
            "INSERT INTO orders (id, partition, state) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET split = CASE WHEN state NOTNULL AND excluded.state NOTNULL"
            " AND partition <> excluded.partition THEN partition ELSE split END,"
            " partition = excluded.partition, state = excluded.state",
            rows,
        )

    def splits(self, number: int) -> dict[str, tuple[int, int]]:
        """Orders, at most so many, that have a state in two partitions, and in which."""
        query = "SELECT id, split, partition FROM orders WHERE split IS NOT NULL ORDER BY id LIMIT ?"
        return {order_id: (one, other) for order_id, one, other in self._file.execute(query, (number,))}

    def aggregates(self, values: Mapping[str, tuple[int, bytes | None]]) -> None:
        """Each order's aggregate as the topic has it now."""
        rows = [(order_id, value) for order_id, (_, value) in values.items()]
        self._file.executemany(
            "INSERT INTO orders (id, topic) VALUES (?, ?)"
            " ON CONFLICT (id) DO UPDATE SET topic = excluded.topic",
            rows,
        )

    def folded(self, values: Mapping[str, tuple[int, bytes | None]]) -> None:
        """Each order's state as a rebuild has it now."""
        rows = [(order_id, where, value) for order_id, (where, value) in values.items()]
        self._file.executemany(
            "INSERT INTO orders (id, folded_partition, folded) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET folded_partition = excluded.folded_partition, folded = excluded.folded",
            rows,
        )

    # ── orders ───────────────────────────────────────────────────────────────────────────────────

    def count(self) -> int:
        """How many orders it knows of."""
        return int(self._file.execute("SELECT COUNT(*) FROM orders").fetchone()[0])

    def nth(self, after: str, number: int) -> str | None:
        """The id that comes `number` after this one; None if there are not as many."""
        query = "SELECT id FROM orders WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?"
        found = self._file.execute(query, (after, number)).fetchone()
        return found[0] if found else None

    def between(self, after: str, last: str | None) -> dict[str, Known]:
        """The orders with an id above `after`, up to and with `last` (None: to the end)."""
        where = "id > ?" if last is None else "id > ? AND id <= ?"
        return self._read(where, [after] if last is None else [after, last])

    def of(self, order_ids: Sequence[str]) -> dict[str, Known]:
        """These orders, where they are known."""
        return self._read(f"id IN ({', '.join('?' * len(order_ids))})", list(order_ids))

    def _read(self, where: str, values: list[str]) -> dict[str, Known]:
        query = "SELECT id, partition, state, topic, folded, folded_partition FROM orders WHERE "
        return {row[0]: Known(*row[1:]) for row in self._file.execute(query + where, values)}

    # ── suspects ─────────────────────────────────────────────────────────────────────────────────

    def suspect(self, evidence: Mapping[str, str], stage: int = LOOKED) -> None:
        """Note orders that differ, with a digest of what they were compared with."""
        rows = [(order_id, text, stage) for order_id, text in evidence.items()]
        self._file.executemany("INSERT OR REPLACE INTO suspects VALUES (?, ?, ?)", rows)

    def clear(self, order_ids: Iterable[str]) -> None:
        """These orders are as they should be."""
        self._file.executemany("DELETE FROM suspects WHERE id = ?", [(order_id,) for order_id in order_ids])

    def forget_suspects(self) -> None:
        """Begin a comparison anew."""
        self._file.execute("DELETE FROM suspects")

    def suspects(self, stage: int, after: str, number: int) -> dict[str, str]:
        """The next `number` suspects of this stage after an id, with their evidence."""
        query = "SELECT id, evidence FROM suspects WHERE stage = ? AND id > ? ORDER BY id LIMIT ?"
        return dict(self._file.execute(query, (stage, after, number)).fetchall())

    def suspected(self, stage: int) -> int:
        """How many suspects are at this stage."""
        return int(
            self._file.execute("SELECT COUNT(*) FROM suspects WHERE stage = ?", (stage,)).fetchone()[0]
        )

    # ── facts ────────────────────────────────────────────────────────────────────────────────────

    def fact(self, name: str) -> str | None:
        """A fact that was remembered."""
        found = self._file.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None

    def remember(self, name: str, value: str) -> None:
        """Remember a fact."""
        self._file.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
