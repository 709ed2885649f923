"""A service from the command line: whose directory it takes, where it listens, how it ends."""

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
from contentui.cli.output import note, say
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
    from contentui.servers.grpc.server import Service

_HOW_TLS = (
    "give --tls-cert, --tls-key and --tls-client-ca, or listen on a unix socket, whose mode says "
    "who may connect"
)


class _Ready(NamedTuple):
    """What whoever started the service should know."""

    addresses: list[str]
    identity: Identity


class ChangeLog:
    """The log of what was destroyed, on standard error; nobody ever waits for who reads it."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._lost = 0

    def tell(self, sentence: str) -> None:
        """Write a line, unless nobody has read the last ones: then only count it."""
        line = f"{rfc3339(time.time_ns())} {visible(sentence, 1000)}"
        with self._mutex:
            if not _takes_a_line():
                self._lost += 1
                return
            if self._lost:
                line = f"({self._lost} lines that nobody read in time are lost) {line}"
                self._lost = 0
            note(line)


def _takes_a_line() -> bool:
    """Whether standard error takes a line at once."""
    import select

    try:
        poll = select.poll()
        poll.register(sys.stderr, select.POLLOUT)
        return bool(poll.poll(0)[0][1] & select.POLLOUT)
    except (OSError, ValueError, TypeError, IndexError):
        return False  # it is closed, or nobody has read the last lines


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
        service, ready = _listening(args, store, root)
        try:
            service.start()
        except BaseException:
            service.stop()
            raise
        _tell_ready(args, context, ready)
        return _until_signal(args, service, signals)


def check_addresses(args: Namespace) -> None:
    """Refuse what would let in more people than was meant.

    Raises:
        InvalidArgument: no address, TCP without TLS, options that contradict each other.
    """
    from contentui.servers.grpc.address import TcpAddress

    if not args.listen:
        raise InvalidArgument(
            "nowhere to listen: --listen is missing",
            advice="give --listen unix:///run/contentui.sock, for example",
        )
    tls = {"--tls-cert": args.tls_cert, "--tls-key": args.tls_key,
           "--tls-client-ca": args.tls_client_ca}  # fmt: skip
    missing = [name for name, value in tls.items() if not value]
    tcp = [address for address in args.listen if isinstance(address, TcpAddress)]
    if 0 < len(missing) < len(tls):
        raise InvalidArgument(f"TLS needs {' and '.join(missing)} too", advice=_HOW_TLS)
    if not missing and args.insecure:
        raise InvalidArgument("--insecure and TLS contradict each other")
    if not tcp and (not missing or args.insecure):
        raise InvalidArgument("TLS and --insecure are for tcp:// addresses, and there is none")
    if tcp and missing:
        _check_insecure(tcp, allowed=args.insecure)


def _check_insecure(addresses: list[TcpAddress], *, allowed: bool) -> None:
    for address in addresses:
        if not allowed:
            raise InvalidArgument(
                f"{address} without TLS lets in whoever reaches it: on loopback every user of "
                "this machine, who could read and delete everything",
                advice=f"{_HOW_TLS}; --insecure takes the risk, on loopback only",
            )
        if not address.is_loopback:
            raise InvalidArgument(
                f"--insecure is for loopback addresses only, and {address} is none: whoever "
                "reaches it could read and delete everything",
                advice=_HOW_TLS,
            )


def _served(root: str, args: Namespace, *, read_only: bool) -> AbstractContextManager[Store]:
    """The store, which nothing else changes meanwhile."""
    from contentui.stores.directory import served

    # A socket before a port: other processes can be referred to it.
    address = min(map(str, args.listen), key=lambda each: each.startswith("tcp"))
    return served(root, address, for_containerd=args.for_containerd or "", read_only=read_only)


def _listening(args: Namespace, store: Store, root: str) -> tuple[Service, _Ready]:
    """The service, listening everywhere and answering nobody yet."""
    from contentui.servers.grpc.changes import told
    from contentui.servers.grpc.identity import identify
    from contentui.servers.grpc.limits import Limits
    from contentui.servers.grpc.server import Service
    from contentui.servers.grpc.side import SideServices

    daemon = os.path.realpath(args.for_containerd) if args.for_containerd else ""
    identity = identify(root, for_containerd=daemon, read_only=store.read_only_reason)
    shown = store if args.quiet else told(store, ChangeLog().tell)
    side = SideServices(shown, identity)
    service = Service(shown, limits=Limits(silence_s=args.silence), side=side)
    try:
        addresses = [_listen(args, service, address) for address in args.listen]
    except BaseException:
        service.stop()
        raise
    return service, _Ready(addresses, identity)


def _listen(args: Namespace, service: Service, address: UnixAddress | TcpAddress) -> str:
    """Listen at one address; returns it with its port."""
    from contentui.servers.grpc.address import UnixAddress

    if isinstance(address, UnixAddress):
        mode = (0o660 if args.group else 0o600) if args.mode is None else args.mode
        service.listen_unix(address.path, mode, args.group)
        return str(address)
    credentials = None
    if args.tls_cert:
        from contentui.servers.grpc.tls import TlsFiles, server_credentials

        credentials = server_credentials(TlsFiles(args.tls_cert, args.tls_key, args.tls_client_ca))
    port = service.listen_tcp(address.host, address.port, credentials)
    return str(address._replace(port=port))


def _tell_ready(args: Namespace, context: Context, ready: _Ready) -> None:
    identity = ready.identity
    if not args.quiet:
        note(_sentence(ready))
    if args.json:
        from contentui.cli.records import json_line

        record = {
            "ready": True,
            "listen": ready.addresses,
            "store": os.fsencode(identity.root).decode("utf-8", "replace"),
            "read_only": bool(identity.read_only),
            "for_containerd": identity.for_containerd or None,
            "uuid": identity.uuid,
            "pid": identity.pid,
        }
        context.out.line(json_line(record))
    _notify("READY=1")


def _sentence(ready: _Ready) -> str:
    identity = ready.identity
    how = ", read-only" if identity.read_only else ""
    if identity.for_containerd:
        how = f" for the containerd at {identity.for_containerd}"
    where = " and ".join(ready.addresses)
    return (
        f"serving {identity.root}{how} at {where}, pid {identity.pid}; "
        "namespaces are ignored: the store is flat"
    )


def _until_signal(args: Namespace, service: Service, signals: set[signal.Signals]) -> int:
    """Wait for a signal and drain; a second one ends the process at once."""
    signal.sigwait(signals)
    _notify("STOPPING=1")
    if not args.quiet:
        note(f"draining, for {args.grace:g}s at most; once more ends at once")
    drain = threading.Thread(target=service.stop, args=(args.grace,), daemon=True)
    drain.start()
    while drain.is_alive():
        again = signal.sigtimedwait(signals, 0.05)
        if again is not None:
            say("ended at once: what was being written is kept for resumption")
            os._exit(128 + again.si_signo)
    return Exit.DONE


@contextmanager
def _signals_held() -> Iterator[set[signal.Signals]]:
    """The signals that end a service wait until they are asked for, in this and all new threads.

    What whoever started us ignores (nohup) stays ignored.
    """
    ending = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signals = {number for number in ending if signal.getsignal(number) != signal.SIG_IGN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield signals
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _choose_transport() -> None:
    """Let the thread that waits for calls also read them from the sockets.

    gRPC's newer way hands each read and each call through threads of its own, which costs small
    calls a third more CPU and half as many changes of threads again. It reads the variable once.
    """
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")


def _keep_transport_quiet() -> None:
    """What clients do wrong is no news here; what else libraries log is escaped."""
    import logging

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    handler = logging.Handler()
    handler.emit = _tell_log  # type: ignore[method-assign]  # a class would only hold this
    logging.getLogger().addHandler(handler)


def _tell_log(record: logging.LogRecord) -> None:
    import logging

    for line in logging.Formatter().format(record).splitlines():
        note(line)


def _raise_descriptor_limit() -> None:
    """Let the process have as many descriptors as it may: each client and each stream needs some.

    The soft limit is 1024 nearly everywhere, for the sake of programs that use select(2) on them.
    """
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _notify(state: str) -> None:
    """Tell the service manager, where there is one (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    import socket

    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(state.encode(), "\0" + path[1:] if path[0] == "@" else path)
