"""A TCP proxy on one link between two parts, which can cut it, hold it, delay, throttle and reset it."""

import asyncio
import socket
import struct
from contextlib import suppress

LINGER_NONE = struct.pack("ii", 1, 0)
"""Close with a reset instead of a FIN."""
CHUNK = 64 * 1024
UP, DOWN = "up", "down"
"""From the client to the server, and back."""


class Link:
    """Listens on a port of its own and forwards to `host:target`. It counts what it meets.

    What is held is kept and forwarded when healed, as TCP does after a partition that was short enough.
    """

    def __init__(self, name: str, target: int, host: str = "127.0.0.1") -> None:
        self.name = name
        self.port = 0
        self.passed = 0
        """Bytes forwarded, both ways."""
        self.connections = 0
        self.touched = 0
        """Connections and chunks that a fault has met: 0 says that it hit nobody."""
        self._host, self._target = host, target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gates = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        self._refusing = False
        self._delay = 0.0
        self._rate = 0
        self._healed = asyncio.Event()
        self.heal()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, self._host, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ── faults ───────────────────────────────────────────────────────────────────────────────────

    def heal(self) -> None:
        """As it should be; what was held or slowed down goes on at once."""
        self._refusing, self._delay, self._rate = False, 0.0, 0
        for gate in self._gates.values():
            gate.set()
        self._healed.set()

    def cut(self) -> None:
        """End every connection, and every new one at once."""
        self._refusing = True
        self.reset()

    def hold(self, direction: str) -> None:
        """Let nothing through this way; neither side is told."""
        self._gates[direction].clear()

    def delay(self, seconds: float) -> None:
        """Each chunk waits so long, either way."""
        self._delay = seconds
        self._healed.clear()

    def throttle(self, bytes_a_second: int) -> None:
        self._rate = bytes_a_second
        self._healed.clear()

    def reset(self) -> None:
        """End every connection with a reset; new ones are let in."""
        for writer in list(self._open):
            self.touched += 1
            _reset(writer)

    # ── forwarding ───────────────────────────────────────────────────────────────────────────────

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            if self._refusing:
                self.touched += 1
                return _reset(writer)
            self.connections += 1
            there, other = await asyncio.open_connection(self._host, self._target)
            self._open.add(other)
            pumps = [
                asyncio.create_task(self._pump(reader, other, UP)),
                asyncio.create_task(self._pump(there, writer, DOWN)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            _reset(writer)  # nobody listens there
        except asyncio.CancelledError:
            pass
        finally:
            for one in (writer, other):
                if one is not None:
                    self._open.discard(one)
                    one.close()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                gate = self._gates[way]
                if not gate.is_set() or self._delay or self._rate:
                    self.touched += 1
                await gate.wait()
                pause = self._delay + (len(chunk) / self._rate if self._rate else 0.0)
                if pause:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._healed.wait(), pause)
                writer.write(chunk)
                await writer.drain()
                self.passed += len(chunk)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
    writer.transport.abort()
