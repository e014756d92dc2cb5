"""Who may write a shard's documents: claims in MongoDB, which fence a former owner (docs/architecture.md)."""

from collections.abc import Mapping
from typing import Any

import pymongo
from msgspec import Struct
from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

CLAIM_WAIT = 1.0
"""Seconds for which a claim waits on a former owner's transaction before it kills its session again."""
ATTEMPTS = 12
"""How often a shard is tried to be claimed while a former owner's transaction is under way."""


class Claim(Struct, frozen=True):
    """An owner's right to write a shard's documents, in this session, until the next owner claims them.

    `ahead`: the next source offsets by topic that the documents stand for. A former owner may have died after
    it wrote them and before it committed: who writes again before it has read as far would step back.
    """

    shard: int
    epoch: int
    session: AsyncClientSession
    ahead: dict[str, int]

    async def release(self) -> None:
        """End the session. The claim stays until somebody else takes it, who kills this session first.

        So it must not go back to the client's pool, where anything else could use it by then.
        """
        await _discard(self.session)


class Superseded(Exception):  # noqa: N818  (a state, named like one)
    """Somebody else has claimed the shard's documents since: this process owns it no more."""


class Claims:
    """The collection `snacksClaims`: one entry a shard, whose `epoch` each new owner raises."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], database: str) -> None:
        self._client = client
        self._claims = client[database]["snacksClaims"]

    async def take(self, shard: int) -> Claim:
        """Claim a shard's documents: from now on a claim that somebody else holds writes nothing.

        A former owner that died or froze in the middle of a transaction holds its locks until MongoDB
        gives it up (60 seconds). So the claim says in which session its owner writes, and the next one
        kills that session first.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        session = self._client.start_session()
        try:
            return await self._take(shard, session)
        except BaseException:  # it may be named in the claim all the same
            await _discard(session)
            raise

    async def _take(self, shard: int, session: AsyncClientSession) -> Claim:
        taking = {"$inc": {"epoch": 1}, "$set": {"session": session.session_id["id"]}}
        for attempt in range(ATTEMPTS):
            former = await self._claims.find_one({"_id": shard})
            if former is not None and "session" in former:
                await self._client.admin.command({"killSessions": [{"id": former["session"]}]})
            try:
                with pymongo.timeout(CLAIM_WAIT):
                    taken = await self._claims.find_one_and_update(
                        {"_id": shard}, taking, upsert=True, return_document=ReturnDocument.AFTER
                    )
            except PyMongoError as error:
                if attempt == ATTEMPTS - 1 or not error.timeout:
                    raise
            else:
                found = taken or {}
                return Claim(shard, found["epoch"], session, dict(found.get("ahead", ())))
        raise AssertionError  # for mypy: the last attempt returns or raises

    async def check(self, claim: Claim, ahead: Mapping[str, int], session: AsyncClientSession) -> None:
        """Go on only as the owner, and note how far the documents are: the first step of each write.

        Raises:
            Superseded: somebody else has claimed the shard.
            PyMongoError: MongoDB does not answer.
        """
        mine = {"_id": claim.shard, "epoch": claim.epoch}
        # A write, not a read: it conflicts with a claim that is made at the same time.
        news = {"$inc": {"cycles": 1}, "$set": {"ahead": list(ahead.items())}}
        held = await self._claims.update_one(mine, news, session=session)
        if not held.matched_count:
            raise Superseded(f"another process has claimed the documents of shard {claim.shard}")


async def _discard(session: AsyncClientSession) -> None:
    if session._server_session is not None:  # noqa: SLF001  (there is no public way to keep it from the pool)
        session._server_session.mark_dirty()  # noqa: SLF001
    await session.end_session()
