"""`python -m local.emulator`: the emulator alone, until SIGINT or SIGTERM."""

import argparse
import logging
import signal
import sys
from threading import Event

from local.emulator import Emulator, EmulatorSettings


def main() -> int:
    """Serve; the first line written tells the base URL."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.WARNING)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = EmulatorSettings(
            workspace_id=arguments.workspace_id,
            app_key=arguments.app_key,
            secret_key=arguments.secret_key,
            render_seconds=tuple(arguments.render_seconds),
            requests_per_minute=arguments.requests_per_minute,
        )
        with Emulator(settings, arguments.webhook_url, arguments.port) as emulator:
            sys.stdout.write(f"ReportFlow emulator on {emulator.url}\n")
            sys.stdout.flush()
            stop.wait()
    except (ValueError, OSError) as error:
        sys.stderr.write(f"The emulator cannot start: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = EmulatorSettings()
    parser = argparse.ArgumentParser(prog="python -m local.emulator", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)"
    )
    parser.add_argument("--webhook-url", help="where finished files are announced")
    parser.add_argument("--workspace-id", default=defaults.workspace_id)
    parser.add_argument("--app-key", default=defaults.app_key)
    parser.add_argument("--secret-key", default=defaults.secret_key)
    parser.add_argument(
        "--render-seconds",
        type=float,
        nargs=2,
        metavar=("LEAST", "MOST"),
        default=defaults.render_seconds,
        help="from the 202 to the finished PDF",
    )
    parser.add_argument(
        "--requests-per-minute", type=int, help="answer 429 above this (default: off)"
    )
    parser.add_argument("--verbose", action="store_true", help="log every request")
    return parser


if __name__ == "__main__":
    sys.exit(main())
