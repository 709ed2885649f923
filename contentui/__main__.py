"""``python -m contentui``, and the program ``contentui``."""

from __future__ import annotations

import signal


def main() -> int:
    """Run the command line; returns its exit code. Ctrl-C never ends in a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # An exception in the midst of an import or of argparse would become another one. From
        # `contentui.cli.signals.catch_interrupts` on it is raised again.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from contentui.cli.main import main as run

    try:
        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
