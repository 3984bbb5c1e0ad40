"""`python -m local.emulator`: the emulator alone, until SIGINT or SIGTERM."""

import argparse
import logging
import signal
import sys
from threading import Event

from local.emulator import Contract, Emulator, EmulatorSettings


def main() -> int:
    """Serve; the first line written ends with the base URL."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.WARNING)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = EmulatorSettings(
            contract=arguments.contract,
            workspace_id=arguments.workspace_id,
            app_key=arguments.app_key,
            secret_key=arguments.secret_key,
            client_id=arguments.client_id,
            client_secret=arguments.client_secret,
            token_path=arguments.token_path,
            token_seconds=arguments.token_seconds,
            render_seconds=tuple(arguments.render_seconds),
            requests_per_minute=arguments.requests_per_minute,
            sync_requests_per_minute=arguments.sync_requests_per_minute,
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
    parser.add_argument(
        "--contract",
        type=Contract,
        choices=list(Contract),
        default=defaults.contract,
        help="the API to serve (default: %(default)s)",
    )
    parser.add_argument("--webhook-url", help="where finished files are announced")
    parser.add_argument("--workspace-id", default=defaults.workspace_id)
    parser.add_argument("--app-key", default=defaults.app_key)
    parser.add_argument("--secret-key", default=defaults.secret_key, help="workspace only")
    parser.add_argument("--client-id", default=defaults.client_id, help="central only")
    parser.add_argument("--client-secret", default=defaults.client_secret, help="central only")
    parser.add_argument(
        "--token-path",
        default=defaults.token_path,
        help="central only: the token endpoint (default: %(default)s)",
    )
    parser.add_argument(
        "--token-seconds",
        type=float,
        default=defaults.token_seconds,
        help="central only: how long a token is accepted (default: %(default)s)",
    )
    parser.add_argument(
        "--render-seconds",
        type=float,
        nargs=2,
        metavar=("LEAST", "MOST"),
        default=defaults.render_seconds,
        help="from the 202 to the finished PDF",
    )
    parser.add_argument(
        "--requests-per-minute",
        type=int,
        help="answer 429 above this (default: as the contract documents; central 100)",
    )
    parser.add_argument(
        "--sync-requests-per-minute", type=int, help="the same for synchronous calls; central 30"
    )
    parser.add_argument("--verbose", action="store_true", help="log every request")
    return parser


if __name__ == "__main__":
    sys.exit(main())
