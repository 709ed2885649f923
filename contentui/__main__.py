"""``python -m contentui``."""

from contentui.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
