"""What the application has of pymongo, over a simulated MongoDB with sessions and transactions."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from pymongo import DeleteOne, _csot
from pymongo.errors import AutoReconnect, InvalidOperation, NetworkTimeout, OperationFailure, PyMongoError
from tests.chaos.model.broker import AGAIN
from tests.chaos.model.net import MONGO, Process
from tests.chaos.model.virtual import RUNNING

if TYPE_CHECKING:
    from tests.chaos.model.world import World

LIFETIME = 60.0
"""Seconds of virtual time after which MongoDB gives up a transaction."""

Doc = dict[str, Any]
Place = tuple[str, Any]
"""Collection and _id."""


class Transaction:
    """One transaction of one session: what it saw when it began, and what it has written."""

    def __init__(self, session: int, number: int) -> None:
        self.session, self.number = session, number
        self.state = "new"
        self.began = 0.0
        self.snapshot: dict[Place, Doc] = {}
        self.writes: dict[Place, Doc | None] = {}

    def sees(self, place: Place) -> Doc | None:
        return self.writes[place] if place in self.writes else self.snapshot.get(place)


class Mongo:
    """The server. A document is replaced, never changed: its identity tells whether it is the same."""

    def __init__(self, clock: Callable[[], float], stored: Callable[[str, Doc | None, str], None]) -> None:
        """`stored(collection, document, id)` is told of each document that a commit has put or deleted."""
        self._clock, self._stored = clock, stored
        self.documents: dict[Place, Doc] = {}
        self._locks: dict[Place, Transaction] = {}
        self._sessions: dict[int, Transaction] = {}

    # ── outside a transaction ────────────────────────────────────────────────────────────────────

    def find_and_update(self, place: Place, update: Mapping[str, Any]) -> Doc | object:
        """An upsert. Waits while a transaction holds the document."""
        if self._locked(place) is not None:
            return AGAIN
        found = self.documents[place] = _updated(self.documents.get(place, {"_id": place[1]}), update)
        return found

    def kill(self, session: int) -> None:
        """Abort what a session has under way."""
        transaction = self._sessions.get(session)
        if transaction is not None:
            self.abort(transaction)

    # ── within one ───────────────────────────────────────────────────────────────────────────────

    def update(self, transaction: Transaction, place: Place, filter_: Doc, update: Mapping[str, Any]) -> int:
        """How many documents were matched: 0 or 1."""
        self._go_on(transaction)
        found = transaction.sees(place)
        if found is None or any(found.get(name) != value for name, value in filter_.items()):
            return 0
        self._write(transaction, place, _updated(found, update))
        return 1

    def find(self, transaction: Transaction, collection: str, ids: Sequence[str]) -> list[Doc]:
        self._go_on(transaction)
        seen = (transaction.sees((collection, one)) for one in ids)
        return [document for document in seen if document is not None]

    def write(self, transaction: Transaction, collection: str, operations: Sequence[Any]) -> None:
        self._go_on(transaction)
        for one in operations:
            document = None if isinstance(one, DeleteOne) else one._doc
            id_ = one._filter["_id"] if document is None else document["_id"]
            self._write(transaction, (collection, id_), document)

    def commit(self, transaction: Transaction) -> None:
        if transaction.state == "committed":
            return  # asked again
        self._go_on(transaction)
        transaction.state = "committed"
        for place, document in transaction.writes.items():
            self._locks.pop(place, None)
            if document is None:
                self.documents.pop(place, None)
            else:
                self.documents[place] = document
            self._stored(place[0], document, place[1])

    def abort(self, transaction: Transaction) -> None:
        if transaction.state in ("new", "open"):
            transaction.state = "aborted"
            for place in transaction.writes:
                self._locks.pop(place, None)

    def _go_on(self, transaction: Transaction) -> None:
        now = self._clock()
        if transaction.state == "new":
            former = self._sessions.get(transaction.session)
            if former is None or former.number < transaction.number:
                if former is not None:
                    self.abort(former)
                self._sessions[transaction.session] = transaction
                transaction.state, transaction.began = "open", now
                transaction.snapshot = dict(self.documents)
        if transaction.state == "open" and now - transaction.began > LIFETIME:
            self.abort(transaction)
        if transaction.state != "open":
            raise _transient("NoSuchTransaction", 251)

    def _write(self, transaction: Transaction, place: Place, document: Doc | None) -> None:
        holder = self._locked(place)
        changed = self.documents.get(place) is not transaction.snapshot.get(place)
        if (holder is not None and holder is not transaction) or (holder is None and changed):
            self.abort(transaction)
            raise _transient("WriteConflict", 112)
        self._locks[place] = transaction
        transaction.writes[place] = document

    def _locked(self, place: Place) -> Transaction | None:
        holder = self._locks.get(place)
        if holder is not None and self._clock() - holder.began > LIFETIME:
            self.abort(holder)
            return None
        return holder


def _updated(document: Doc, update: Mapping[str, Any]) -> Doc:
    new = {**document, **update.get("$set", {})}
    for name, more in update.get("$inc", {}).items():
        new[name] = new.get(name, 0) + more
    return new


def _transient(message: str, code: int) -> OperationFailure:
    return OperationFailure(message, code, {"errorLabels": ["TransientTransactionError"]})


# ── the client ───────────────────────────────────────────────────────────────────────────────────


class Client:
    """AsyncMongoClient."""

    def __init__(self, *_: Any, **__: Any) -> None:
        process = RUNNING.get()
        assert isinstance(process, Process)
        self.net = process.net
        self.world: World = process.net.world
        self.server = self.world.mongo
        self.admin = Admin(self)

    def __getitem__(self, _database: str) -> "Database":
        return Database(self)

    def start_session(self) -> "Session":
        return Session(self)

    async def ask(self, name: str, effect: Callable[[], Any]) -> Any:
        """Ask the server, for no longer than `pymongo.timeout` allows."""
        left = _csot.get_timeout()
        if left is None:
            return await self.net.call(MONGO, name, effect)
        try:
            async with asyncio.timeout(left):
                return await self.net.call(MONGO, name, effect)
        except TimeoutError:
            raise NetworkTimeout("no answer in time") from None

    async def close(self) -> None:
        """Nothing is held."""


class Admin:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def command(self, command: Mapping[str, Any] | str) -> None:
        if isinstance(command, str):
            await self._client.ask(command, lambda: None)
            return
        for one in command["killSessions"]:
            await self._client.ask("kill session", partial(self._client.server.kill, one["id"]))


class Database:
    def __init__(self, client: Client) -> None:
        self._client = client

    def __getitem__(self, name: str) -> "Collection":
        return Collection(self._client, name)


class Session:
    """A logical session; one transaction at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.id = client.world.numbers()
        self.session_id = {"id": self.id}
        self.transaction: Transaction | None = None
        self._server_session = None  # there is no pool to keep it from

    async def start_transaction(self) -> Self:
        if self.transaction is not None:
            raise InvalidOperation("Transaction already in progress")
        self.transaction = Transaction(self.id, self._client.world.numbers())
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.transaction is not None:
            await (self.commit_transaction() if kind is None else self.abort_transaction())

    async def commit_transaction(self) -> None:
        """As pymongo does: asked once again if there was no answer."""
        transaction, self.transaction = self.transaction, None
        assert transaction is not None
        if transaction.state == "new":
            return
        for last in (False, True):
            try:
                await self._client.ask("store", lambda: self._client.server.commit(transaction))
            except AutoReconnect:
                if last:
                    raise
            else:
                return

    async def abort_transaction(self) -> None:
        """As pymongo does: errors do not matter."""
        transaction, self.transaction = self.transaction, None
        assert transaction is not None
        try:
            await self._client.ask("abort", lambda: self._client.server.abort(transaction))
        except PyMongoError:
            return

    async def end_session(self) -> None:
        if self.transaction is not None:
            await self.abort_transaction()


class Collection:
    """The few operations that the application uses; those with a session are within its transaction."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self._server, self._name = client, client.server, name

    async def find_one(self, filter_: Doc) -> Doc | None:
        place = (self._name, filter_["_id"])
        return await self._client.ask("former", lambda: self._server.documents.get(place))  # type: ignore[no-any-return]

    async def find_one_and_update(self, filter_: Doc, update: Doc, **_: Any) -> Doc:
        place = (self._name, filter_["_id"])
        return await self._client.ask("claim", lambda: self._server.find_and_update(place, update))  # type: ignore[no-any-return]

    async def update_one(self, filter_: Doc, update: Doc, *, session: Session) -> Any:
        place, transaction = (self._name, filter_["_id"]), session.transaction
        assert transaction is not None
        matched = await self._client.ask(
            "check", lambda: self._server.update(transaction, place, filter_, update)
        )
        return Matched(matched)

    async def find(
        self, filter_: Doc, _projection: Doc, *, session: Session, batch_size: int
    ) -> AsyncIterator[Doc]:
        del batch_size
        transaction, ids = session.transaction, filter_["_id"]["$in"]
        assert transaction is not None
        for document in await self._client.ask(
            "find", lambda: self._server.find(transaction, self._name, ids)
        ):
            yield document

    async def bulk_write(self, operations: Sequence[Any], *, ordered: bool, session: Session) -> None:
        del ordered
        transaction = session.transaction
        assert transaction is not None
        await self._client.ask("write", lambda: self._server.write(transaction, self._name, operations))


class Matched:
    def __init__(self, count: int) -> None:
        self.matched_count = count


def document_class() -> Any:
    """In the place of the Beanie class, of which the application takes the collection to write."""

    class OrderDocument:
        collection: Collection

        @classmethod
        def get_pymongo_collection(cls) -> Collection:
            return cls.collection

    return OrderDocument
