"""The command line: `python -m bot`."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bot.app import App
from bot.errors import StartError
from bot.logs import configure_logs
from bot.settings import Settings, SettingsError, read_settings
from handlers.manifest import manifest

WRONG_SETTINGS = 2
CANNOT_START = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and give back the exit status: 0, 1 when the bot cannot start, 2 for wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m bot", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="run the bot (the default)")
    printer = commands.add_parser("manifest", help="print the Slack app manifest, as JSON")
    printer.add_argument("--url", help="the bot's public https address, for HTTP mode; without it, Socket Mode")
    options = parser.parse_args(arguments)
    if options.command == "manifest":
        return _print_manifest(options.url)
    return _serve()


def _print_manifest(url: str | None) -> int:
    try:
        print(json.dumps(manifest(url), indent=2, ensure_ascii=False))
    except ValueError as error:
        print(error, file=sys.stderr)
        return WRONG_SETTINGS
    return 0


def _serve() -> int:
    try:
        settings = read_settings(os.environ, Path(".env"))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return WRONG_SETTINGS
    configure_logs(settings.log_level, settings.log_format, settings.secrets)
    try:
        _event_loop()(_until_signalled(settings))
    except StartError as error:
        print(error, file=sys.stderr)
        return CANNOT_START
    except OSError as error:
        print(f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}.", file=sys.stderr)
        return CANNOT_START
    return 0


async def _until_signalled(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await App(settings).run(stop)


def _event_loop() -> Callable[[Coroutine[Any, Any, None]], None]:
    """Take uvloop where it exists: it halves the time of a request."""
    runner: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
    if find_spec("uvloop"):
        runner = import_module("uvloop").run
    return runner


if __name__ == "__main__":
    sys.exit(main())
