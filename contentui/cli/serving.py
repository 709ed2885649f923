"""``contentui serve``: ownership of the directory, addresses, readiness, signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from contentui.cli.allocator import keep_freed_memory
from contentui.cli.exits import Exit
from contentui.cli.output import print_error, print_note
from contentui.content.errors import InvalidArgument
from contentui.text import rfc3339, visible

if TYPE_CHECKING:
    import logging
    from argparse import Namespace
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from contentui.cli.context import Context
    from contentui.content.store import Store
    from contentui.servers.grpc.address import TcpAddress, UnixAddress
    from contentui.servers.grpc.identity import Identity
    from contentui.servers.grpc.server import Server

_HOW_TLS = (
    "give --tls-cert, --tls-key and --tls-client-ca, or listen on a unix socket, whose mode "
    "restricts who may connect"
)


class _Ready(NamedTuple):
    """What the caller of the command needs to connect."""

    addresses: list[str]
    identity: Identity


class AuditLog:
    """The log of what was destroyed, on standard error. Never blocks."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._dropped = 0

    def write(self, sentence: str) -> None:
        """Write a line with the time; drop it while standard error is not writable."""
        line = f"{rfc3339(time.time_ns())} {visible(sentence, 1000)}"
        with self._mutex:
            if not _stderr_is_writable():
                self._dropped += 1
                return
            if self._dropped:
                line = f"({self._dropped} lines were dropped, unread in time) {line}"
                self._dropped = 0
            print_note(line)


def _stderr_is_writable() -> bool:
    """Whether a line can be written without waiting."""
    import select

    try:
        poll = select.poll()
        poll.register(sys.stderr, select.POLLOUT)
        return bool(poll.poll(0)[0][1] & select.POLLOUT)
    except (OSError, ValueError, TypeError, IndexError):
        return False  # it is closed, or full of unread lines


def serve(args: Namespace, context: Context) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP; returns the exit code."""
    check_addresses(args)
    from contentui.stores.directory import path_of

    root = path_of(context.source, "served")
    _choose_transport()
    _keep_transport_quiet()
    keep_freed_memory()
    _raise_descriptor_limit()
    with _signals_held() as signals, ExitStack() as held:
        store = held.enter_context(_served(root, args, read_only=context.read_only))
        server, ready = _listening(args, store, root)
        try:
            server.start()
        except BaseException:
            server.stop()
            raise
        _report_ready(args, context, ready)
        return _until_signal(args, server, signals)


def check_addresses(args: Namespace) -> None:
    """Reject addresses that more people could connect to than intended.

    Raises:
        InvalidArgument: no address, TCP without TLS, conflicting options.
    """
    from contentui.servers.grpc.address import TcpAddress

    if not args.listen:
        raise InvalidArgument(
            "--listen is missing",
            advice="give --listen unix:///run/contentui.sock, for example",
        )
    tls = {"--tls-cert": args.tls_cert, "--tls-key": args.tls_key,
           "--tls-client-ca": args.tls_client_ca}  # fmt: skip
    missing = [name for name, value in tls.items() if not value]
    tcp = [address for address in args.listen if isinstance(address, TcpAddress)]
    if 0 < len(missing) < len(tls):
        raise InvalidArgument(f"TLS also needs {' and '.join(missing)}", advice=_HOW_TLS)
    if not missing and args.insecure:
        raise InvalidArgument("--insecure cannot be combined with TLS")
    if not tcp and (not missing or args.insecure):
        raise InvalidArgument("TLS options and --insecure need a tcp:// address: none is given")
    if tcp and missing:
        _check_insecure(tcp, allowed=args.insecure)


def _check_insecure(addresses: list[TcpAddress], *, allowed: bool) -> None:
    for address in addresses:
        if not allowed:
            raise InvalidArgument(
                f"{address} without TLS accepts every client: on loopback every user of this "
                "machine could read and delete everything",
                advice=f"{_HOW_TLS}; --insecure accepts this risk, on loopback only",
            )
        if not address.is_loopback:
            raise InvalidArgument(
                f"--insecure is allowed on loopback addresses only, not on {address}: every client "
                "that can connect could read and delete everything",
                advice=_HOW_TLS,
            )


def _served(root: str, args: Namespace, *, read_only: bool) -> AbstractContextManager[Store]:
    """The store, which nothing else changes meanwhile."""
    from contentui.stores.directory import served

    # A socket before a port: other processes can be referred to it.
    address = min(map(str, args.listen), key=lambda each: each.startswith("tcp"))
    return served(root, address, for_containerd=args.for_containerd or "", read_only=read_only)


def _listening(args: Namespace, store: Store, root: str) -> tuple[Server, _Ready]:
    """The server, bound to all addresses but not serving yet."""
    from contentui.servers.grpc.audit import AuditedStore
    from contentui.servers.grpc.auxiliary import AuxiliaryServices
    from contentui.servers.grpc.identity import identify
    from contentui.servers.grpc.limits import Limits
    from contentui.servers.grpc.server import Server

    daemon = os.path.realpath(args.for_containerd) if args.for_containerd else ""
    identity = identify(root, for_containerd=daemon, read_only=store.traits.read_only_reason)
    logged = store if args.quiet else AuditedStore(store, AuditLog().write)
    auxiliary = AuxiliaryServices(logged, identity)
    limits = Limits(silence_s=args.silence)
    server = Server(logged, limits=limits, auxiliary=auxiliary)
    try:
        addresses = [_listen(args, server, address) for address in args.listen]
    except BaseException:
        server.stop()
        raise
    return server, _Ready(addresses, identity)


def _listen(args: Namespace, server: Server, address: UnixAddress | TcpAddress) -> str:
    """Bind one address; returns it with its port."""
    from contentui.servers.grpc.address import UnixAddress

    if isinstance(address, UnixAddress):
        mode = (0o660 if args.group else 0o600) if args.mode is None else args.mode
        server.listen_unix(address.path, mode, args.group)
        return str(address)
    credentials = None
    if args.tls_cert:
        from contentui.servers.grpc.tls import TlsFiles, server_credentials

        credentials = server_credentials(TlsFiles(args.tls_cert, args.tls_key, args.tls_client_ca))
    port = server.listen_tcp(address.host, address.port, credentials)
    return str(address._replace(port=port))


def _report_ready(args: Namespace, context: Context, ready: _Ready) -> None:
    identity = ready.identity
    if not args.quiet:
        print_note(_ready_text(ready))
    if args.json:
        from contentui.present.records import json_line, ready_record

        record = ready_record(
            ready.addresses,
            store=identity.root,
            read_only=bool(identity.read_only),
            root=identity.for_containerd,
            uuid=identity.uuid,
            pid=identity.pid,
        )
        context.out.line(json_line(record))
    _notify("READY=1")


def _ready_text(ready: _Ready) -> str:
    identity = ready.identity
    how = ", read-only" if identity.read_only else ""
    if identity.for_containerd:
        how = f" for the containerd at {identity.for_containerd}"
    where = " and ".join(ready.addresses)
    return (
        f"serving {identity.root}{how} at {where}, pid {identity.pid}; "
        "namespaces are ignored: the store is flat"
    )


def _until_signal(args: Namespace, server: Server, signals: set[signal.Signals]) -> int:
    """Wait for a signal and drain; a second one ends the process at once."""
    signal.sigwait(signals)
    _notify("STOPPING=1")
    if not args.quiet:
        print_note(f"draining for up to {args.grace:g}s; a second signal exits at once")
    drain = threading.Thread(target=server.stop, args=(args.grace,), daemon=True)
    drain.start()
    while drain.is_alive():
        again = signal.sigtimedwait(signals, 0.05)
        if again is not None:
            print_error("exited at once; open ingests are kept and can be resumed")
            os._exit(128 + again.si_signo)
    return Exit.DONE


@contextmanager
def _signals_held() -> Iterator[set[signal.Signals]]:
    """Block the signals that stop the server, in this and all new threads, for sigwait(3).

    Signals that the parent process ignores (nohup) stay ignored.
    """
    ending = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signals = {number for number in ending if signal.getsignal(number) != signal.SIG_IGN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield signals
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _choose_transport() -> None:
    """Make the thread that waits for calls also read the sockets.

    gRPC's event engine passes each read and each call through threads of its own, which costs small
    calls a third more CPU and half again as many thread switches. gRPC reads the variable once.
    """
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")


def _keep_transport_quiet() -> None:
    """Silence gRPC's log of client errors; escape what other libraries log."""
    import logging

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    handler = logging.Handler()
    handler.emit = _log_record  # type: ignore[method-assign]  # a class would only hold this
    logging.getLogger().addHandler(handler)


def _log_record(record: logging.LogRecord) -> None:
    import logging

    for line in logging.Formatter().format(record).splitlines():
        print_note(line)


def _raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard limit: each client and stream needs some.

    The soft limit is usually 1024, for programs that use select(2).
    """
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _notify(state: str) -> None:
    """Report to the service manager, if there is one (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    import socket

    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(state.encode(), "\0" + path[1:] if path[0] == "@" else path)
