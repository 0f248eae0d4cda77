"""`caseus serve` from start to end: settings, sockets, the data folder, then one process that serves, or several."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from caseus import site
from caseus.binds import TcpBind
from caseus.config import Config, Loaded
from caseus.folder import make_root
from caseus.server import http2, logs, sockets, welcome
from caseus.server.admin import make_first_admin
from caseus.server.channel import WorkerEnd
from caseus.server.handover import EVERYTHING, Handover, Role
from caseus.server.reload import Hangups, Load, Reloader, Terminal, settle
from caseus.server.serving import Serving
from caseus.server.sockets import Listeners
from caseus.server.state import State, read_state
from caseus.server.supervisor import Supervisor
from caseus.server.worker import work
from caseus.web import Metrics


def run(loaded: Loaded, load: Load) -> int:
    """Serve until a signal; the exit code. `load` reads the settings anew. CaseusError if it can't; WorkersDie."""
    logs.configure()
    hangups = Hangups()
    config = loaded.config
    state = read_state(config)
    if config.http2:
        http2.check()
    with ExitStack() as stack:
        listeners = _listen(config)
        stack.callback(listeners.close)
        make_root(config.root)
        state = msgspec.structs.replace(state, config=settle(config, site.cache_limit(config)))
        alone = config.workers == 1
        folder = None if alone else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="caseus-metrics-")))
        metrics = Metrics(folder)
        started = _Started(loaded, listeners, hangups, Reloader(load, loaded, state, metrics), metrics)
        if alone:
            started.serve_alone()
        else:
            started.serve_by_workers()
    return 0


def _listen(config: Config) -> Listeners:
    if config.http2:
        return sockets.hold([bind for bind in config.binds if isinstance(bind, TcpBind)], workers=config.readers)
    return sockets.listen(config.binds, workers=config.readers, mode=config.bind_mode, environ=os.environ)


class _Started(NamedTuple):
    """A server that listens, and has not opened its data folder yet."""

    loaded: Loaded
    listeners: Listeners
    hangups: Hangups
    reloader: Reloader
    metrics: Metrics

    def serve_alone(self) -> None:
        terminal = Terminal()
        with ExitStack() as stack:
            opened = self._open()
            stack.callback(opened.close)
            serving = Serving(self.reloader.state, opened, self.metrics)
            stack.pop_all()
            stack.callback(serving.close)

            def hangup() -> None:
                if terminal.is_gone():
                    serving.engine.stop()
                elif self.reloader.reload():
                    serving.apply(self.reloader.state)

            def on_ready() -> None:
                self.hangups.follow(hangup)
                self._say_ready()

            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, serving.handle_exit)
            serving.run(self.listeners.of(0), on_ready)

    def serve_by_workers(self) -> None:
        self._open().close()  # migrations are done; threads and databases don't outlive a fork
        gc.collect()
        gc.freeze()
        readers, handover = self.reloader.state.config.readers, Handover()

        def begin(number: int, state: State, channel: WorkerEnd) -> None:
            if readers == state.config.workers:
                role = EVERYTHING
            else:
                role = Role(gives=handover) if number < readers else Role(takes=handover)
            work(state, self.listeners.keep(number if number < readers else None), self.metrics, channel, role)

        supervisor = Supervisor(
            begin,
            self.reloader,
            self.hangups,
            stop_listening=self.listeners.close,
            on_ready=self._say_ready,
            on_death=self.metrics.bury,
        )
        with closing(handover):
            supervisor.run()

    def _open(self) -> site.Site:
        """The site, with a first user, after the welcome."""
        state = self.reloader.state
        with ExitStack() as stack:
            opened = site.build(state.config, listed=state.listed)
            stack.callback(opened.close)
            admin = make_first_admin(opened.catalog, state.config.root, os.environ, opened.access.passwords.hash)
            text = welcome.compose(self.loaded, self.listeners.names, admin, secret=sys.stderr.isatty())
            welcome.show(text, sys.stderr)
            stack.pop_all()
        return opened

    def _say_ready(self) -> None:
        urls = welcome.urls_of(self.listeners.names, tls=self.loaded.config.tls_cert is not None)
        with suppress(BrokenPipeError):  # whoever started us may not listen
            print("caseus: ready on", *urls, flush=True)
