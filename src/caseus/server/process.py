"""`caseus serve` from start to end: settings, sockets, the data folder, then one process that serves, or several."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import ExitStack, suppress
from functools import partial

from caseus import site
from caseus.config import Loaded
from caseus.folder import make_root
from caseus.server import logs, sockets, welcome
from caseus.server.admin import make_first_admin
from caseus.server.reload import Hangups, Load, Reloader, Terminal
from caseus.server.serving import Serving
from caseus.server.sockets import Listeners
from caseus.server.state import State, read_state
from caseus.server.supervisor import Supervisor
from caseus.server.worker import work


def run(loaded: Loaded, load: Load) -> int:
    """Serve until a signal; the exit code. `load` reads the settings anew. CaseusError if it can't start, and
    WorkersDie."""
    logs.configure()
    config = loaded.config
    state = read_state(config)
    listeners = sockets.listen(config.binds, mode=config.bind_mode, environ=os.environ)
    try:
        make_root(config.root)
        _serve(loaded, state, Reloader(load, loaded, state), listeners)
    finally:
        listeners.close()
    if config.no_fsync:
        os.sync()  # from now on a power cut does no more harm
    return 0


def _serve(loaded: Loaded, state: State, reloader: Reloader, listeners: Listeners) -> None:
    on_ready = partial(_say_ready, welcome.urls_of(listeners.names, tls=state.certificate is not None))
    with ExitStack() as stack:
        opened = site.build(state.config, listed=state.listed)
        stack.callback(opened.close)
        admin = make_first_admin(opened.catalog, state.config.root, os.environ, opened.access.passwords.hash)
        welcome.show(welcome.compose(loaded, listeners.names, admin, secret=sys.stderr.isatty()), sys.stderr)
        if state.config.workers == 1:
            serving = Serving(state, opened, on_ready)
            stack.pop_all()
            stack.callback(serving.close)
            _serve_alone(serving, reloader, listeners)
            return
    gc.collect()  # the site is closed: threads and databases don't outlive a fork
    gc.freeze()
    workers = Supervisor(
        lambda state, channel: work(state, listeners.sockets, channel),
        reloader,
        stop_listening=listeners.close,
        on_ready=on_ready,
    )
    workers.run()


def _serve_alone(serving: Serving, reloader: Reloader, listeners: Listeners) -> None:
    server, terminal = serving.server, Terminal()

    def hangup() -> None:
        if terminal.is_gone():
            server.stop()
        elif reloader.reload():
            serving.apply(reloader.state)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    signal.signal(signal.SIGHUP, Hangups(hangup).handle)
    serving.run(listeners.sockets)


def _say_ready(urls: list[str]) -> None:
    with suppress(BrokenPipeError):  # whoever started us may not listen
        print("caseus: ready on", *urls, flush=True)
