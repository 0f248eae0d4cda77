"""`caseus serve` from start to end: settings, sockets, the data folder, then one process that serves, or several."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from caseus import site
from caseus.binds import TcpBind
from caseus.config import Config, Loaded
from caseus.folder import make_root
from caseus.server import http2, logs, sockets, welcome
from caseus.server.admin import make_first_admin
from caseus.server.reload import Hangups, Load, Reloader, Terminal
from caseus.server.serving import Serving
from caseus.server.sockets import Listeners
from caseus.server.state import State, read_state
from caseus.server.supervisor import Supervisor
from caseus.server.worker import work
from caseus.web import Metrics


def run(loaded: Loaded, load: Load) -> int:
    """Serve until a signal; the exit code. `load` reads the settings anew. CaseusError if it can't; WorkersDie."""
    logs.configure()
    config = loaded.config
    state = read_state(config)
    if config.http2:
        http2.check()
    with ExitStack() as stack:
        listeners = _listen(config)
        stack.callback(listeners.close)
        make_root(config.root)
        if config.workers == 1:
            _serve_alone(loaded, state, load, listeners)
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="caseus-metrics-")))
            _serve_by_workers(loaded, state, load, listeners, Metrics(folder))
    return 0


def _listen(config: Config) -> Listeners:
    if config.http2:
        return sockets.hold([bind for bind in config.binds if isinstance(bind, TcpBind)], workers=config.workers)
    return sockets.listen(config.binds, workers=config.workers, mode=config.bind_mode, environ=os.environ)


def _serve_alone(loaded: Loaded, state: State, load: Load, listeners: Listeners) -> None:
    metrics, terminal = Metrics(), Terminal()
    reloader = Reloader(load, loaded, state, metrics)
    with ExitStack() as stack:
        opened = _open(loaded, state, listeners)
        stack.callback(opened.close)
        serving = Serving(state, opened, metrics)
        stack.pop_all()
        stack.callback(serving.close)

        def hangup() -> None:
            if terminal.is_gone():
                serving.engine.stop()
            elif reloader.reload():
                serving.apply(reloader.state)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, serving.handle_exit)
        signal.signal(signal.SIGHUP, Hangups(hangup).handle)
        serving.run(listeners.of(0), partial(_say_ready, loaded, listeners))


def _serve_by_workers(loaded: Loaded, state: State, load: Load, listeners: Listeners, metrics: Metrics) -> None:
    _open(loaded, state, listeners).close()  # migrations are done; threads and databases don't outlive a fork
    gc.collect()
    gc.freeze()
    supervisor = Supervisor(
        lambda number, state, channel: work(state, listeners.keep(number), metrics, channel),
        Reloader(load, loaded, state, metrics),
        stop_listening=listeners.close,
        on_ready=partial(_say_ready, loaded, listeners),
        on_death=metrics.bury,
    )
    supervisor.run()


def _open(loaded: Loaded, state: State, listeners: Listeners) -> site.Site:
    """The site, with a first user, after the welcome."""
    with ExitStack() as stack:
        opened = site.build(state.config, listed=state.listed)
        stack.callback(opened.close)
        admin = make_first_admin(opened.catalog, state.config.root, os.environ, opened.access.passwords.hash)
        text = welcome.compose(loaded, listeners.names, admin, secret=sys.stderr.isatty())
        welcome.show(text, sys.stderr)
        stack.pop_all()
    return opened


def _say_ready(loaded: Loaded, listeners: Listeners) -> None:
    urls = welcome.urls_of(listeners.names, tls=loaded.config.tls_cert is not None)
    with suppress(BrokenPipeError):  # whoever started us may not listen
        print("caseus: ready on", *urls, flush=True)
