"""A TCP relay before a server on loopback, that breaks connections in every way a network does.

    with TcpProxy(port_of_the_server) as proxy:
        proxy.port                                  # clients connect here
        proxy.fail(TcpFault(reset=1000))            # from now on; connections that are open are closed first
        proxy.heal()
        proxy.down(); proxy.up()                    # the same port
        proxy.accepted                              # connections so far

Byte counts are those of one connection, of what goes towards the client. It speaks TLS to clients while `tls` is set,
and TCP to the server.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

_PIECE = 16_384
_PATIENCE, _FAREWELL = 30.0, 60.0  # seconds: for a change to come about, for a client to end its half of TLS
_LINGER_0 = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class TcpFault:
    """What goes wrong with a connection. More than one may be given."""

    refuse: bool = False
    """Reset as soon as it is accepted."""
    blackhole: bool = False
    """Takes everything and never answers."""
    latency: float = 0.0
    """Seconds before each piece of an answer."""
    rate: int | None = None
    """Bytes of answers a second."""
    cut: int | None = None
    """Both directions are closed after so many bytes."""
    reset: int | None = None
    """The same by RST (SO_LINGER 0): what is on its way may be lost too."""
    half_close: int | None = None
    """After so many bytes no more comes (FIN), while requests are still taken."""
    corrupt: int | None = None
    """The byte with this number, from 0, has its bits flipped."""
    garbage: bytes | None = None
    """Sent in place of any answer, then closed."""

    @property
    def last(self) -> int | None:
        """How many bytes get through."""
        ends = [end for end in (self.cut, self.reset, self.half_close) if end is not None]
        return min(ends) if ends else None


HEALTHY = TcpFault()


class TcpProxy:
    """Runs a loop in a thread of its own. A context manager."""

    def __init__(self, target: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._fault = HEALTHY
        self._tls = tls
        self.accepted = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._running: dict[asyncio.Task[None], tuple[asyncio.Task[None], asyncio.StreamWriter]] = {}

    def fail(self, fault: TcpFault) -> None:
        """From now on; a client that kept a connection has to make a new one, which has the fault."""
        self._do(self._change(fault))

    def heal(self) -> None:
        self.fail(HEALTHY)

    def wear(self, tls: ssl.SSLContext | None) -> None:
        """Show clients another certificate from now on."""
        self._do(self._change(self._fault, tls))

    async def _change(self, fault: TcpFault, tls: ssl.SSLContext | None = None) -> None:
        self._fault = fault
        if tls is not None and tls is not self._tls:
            self._tls = tls
            await self._listen()
        await self._drop_all()

    async def _listen(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = await asyncio.start_server(
            self._accept,
            "127.0.0.1",
            self.port,
            ssl=self._tls,
            ssl_shutdown_timeout=_FAREWELL if self._tls else None,
            backlog=256,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _drop_all(self) -> None:
        for relay, writer in self._running.values():
            relay.cancel()
            writer.transport.abort()  # else one that waits for the other side's farewell (TLS) is waited for
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Never cancelled itself, so that everything is closed at its end."""
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        relay = asyncio.create_task(self._relay(reader, writer, self._fault))
        self._running[task] = relay, writer
        (failure,) = await asyncio.gather(relay, return_exceptions=True)
        if failure is not None:
            writer.transport.abort()
        await _close(writer)
        del self._running[task]

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: TcpFault) -> None:
        if fault.refuse:
            _reset(writer)
            return
        if fault.blackhole:
            await _swallow(reader)
            return
        if fault.garbage is not None:
            await reader.read(_PIECE)
            writer.write(fault.garbage)
            await writer.drain()
            return
        answers, requests = await asyncio.open_connection("127.0.0.1", self._target)
        forward = asyncio.create_task(_forward(reader, requests))
        try:
            await _give(answers, writer, fault)
            if fault.half_close is not None:
                if writer.can_write_eof():  # TLS has no half-closed state
                    writer.write_eof()
                await forward
        finally:
            forward.cancel()
            requests.transport.abort()
            await asyncio.gather(forward, _close(requests), return_exceptions=True)

    def down(self) -> None:
        """Nobody listens any more; the port stays ours to come back to."""
        self._do(self._close_listener())

    def up(self) -> None:
        """After `down`; else nothing happens."""
        if self._server is None:
            self._do(self._listen())

    async def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._drop_all()

    def _do(self, change: object) -> None:
        asyncio.run_coroutine_threadsafe(change, self._loop).result(_PATIENCE)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *exc: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        await self._close_listener()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Requests go through as they are."""
    with suppress(OSError):
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()


async def _give(answers: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: TcpFault) -> None:
    """Answers, as far as the fault lets them through."""
    given = 0
    while True:
        room = _PIECE if fault.last is None else min(_PIECE, fault.last - given)
        if room <= 0:
            break
        data = await answers.read(min(room, max(1, fault.rate // 20)) if fault.rate else room)
        if not data:
            return
        await asyncio.sleep(fault.latency + (len(data) / fault.rate if fault.rate else 0))
        writer.write(_corrupted(data, given, fault.corrupt))
        await writer.drain()
        given += len(data)
    if fault.reset is not None:
        _reset(writer)


def _corrupted(data: bytes, at: int, number: int | None) -> bytes:
    if number is None or not at <= number < at + len(data):
        return data
    changed = bytearray(data)
    changed[number - at] ^= 0xFF
    return bytes(changed)


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST, as from a machine that lost its memory of the connection."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    writer.transport.abort()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(_PIECE):
        pass
