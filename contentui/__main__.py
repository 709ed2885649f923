"""``python -m contentui``, and the program ``contentui``."""

from __future__ import annotations

import signal


def main() -> int:
    """Run the command line; returns its exit code. Ctrl-C never ends in a traceback."""
    caught = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if caught:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # while modules are imported
    from contentui.cli.main import main as run

    if caught:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
