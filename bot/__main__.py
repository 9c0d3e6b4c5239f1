"""The command line: `python -m bot`."""

import gc

gc.disable()  # it would look for garbage 276 times in what is imported here, which takes a seventh of the start

import argparse
import asyncio
import io
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from bot.app import App
from bot.audit import STYLES, print_trail, print_verdict, read_head, read_since
from bot.doctor import examine
from bot.environment import SettingsError, Variables, read_variables, secret_files, unknown_names
from bot.errors import StartError, StorageUnavailable
from bot.findings import problem, report
from bot.logs import LineWriter, configure_logs
from bot.settings import Settings, read_audit_keys, read_database_url, read_settings
from handlers.manifest import manifest

gc.freeze()  # to look through all of it takes 70 ms, in which a running bot would acknowledge nothing
gc.enable()

logger = logging.getLogger(__name__)

T = TypeVar("T")
WRONG_SETTINGS = 2
FAILED = 1
DOTENV = Path(".env")
GARBAGE_AFTER = 10_000  # new objects before the garbage collector looks at them


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
        The exit status: 0; 1 when the bot can't start, the audit trail isn't whole, or the doctor warns; 2 for wrong
        settings or words, or when the doctor finds what will not work.
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that can't show a character shows another
            stream.reconfigure(errors="replace")
    try:
        status = int(options.run(options))
        print(end="", flush=True)  # or what can't be written is noticed only once nothing can be done about it
    except SettingsError as error:
        print(error, file=sys.stderr)
        return WRONG_SETTINGS
    except StartError as error:
        print(error, file=sys.stderr)
        return FAILED
    except StorageUnavailable as error:
        print(f"Can't reach the database ({error}).", file=sys.stderr)
        return FAILED
    except OSError as error:
        if options.run is _serve:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0  # the reader, such as `head`, has read enough
        print(f"Can't write all of the output: {error.strerror or error}.", file=sys.stderr)
        return FAILED
    return status


def _parser() -> argparse.ArgumentParser:
    about = "Run the remediation bot, or inspect its audit trail. Settings: docs/settings.md."
    is_installed = Path(sys.argv[0]).name == "remediation-bot"
    parser = argparse.ArgumentParser(prog=None if is_installed else "python -m bot", description=about)
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(metavar="COMMAND")
    commands.add_parser("serve", help="run the bot (the default)").set_defaults(run=_serve)
    printer = commands.add_parser("manifest", help="print the Slack app manifest as JSON")
    printer.add_argument("--url", help="the bot's public https URL, for HTTP mode; default: Socket Mode")
    printer.set_defaults(run=_print_manifest)
    doctor = commands.add_parser("doctor", help="check everything the bot depends on, and say how to fix it")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.add_argument("--post", action="store_true", help="post a test card to each alert channel, and delete it")
    doctor.set_defaults(run=_examine)
    trail = commands.add_parser("audit", help="print the audit trail, or verify it")
    trail.add_argument("--since", help="2026-11-24, 2026-11-24T03:00Z, or an age: 30m, 24h, 7d")
    trail.add_argument("--remediation", metavar="ID", help="only this remediation ID")
    trail.add_argument("--user", metavar="ID", help="only this Slack user ID")
    trail.add_argument("--format", choices=STYLES, default="table", help="the default is table; json: a line per row")
    trail.set_defaults(run=_print_trail)
    more = trail.add_subparsers(metavar="export | verify")
    export = more.add_parser("export", help="print the rows as JSON lines")
    since = "2026-11-24, 2026-11-24T03:00Z, or an age: 30m, 24h, 7d"
    export.add_argument("--since", default=argparse.SUPPRESS, help=since)  # also before the word
    export.set_defaults(run=_print_trail, format="json")
    verify = more.add_parser("verify", help="find changed, missing, or moved rows")
    expect = "a previously recorded head hash; also detects truncation or rewriting"
    verify.add_argument("--expect", metavar="HASH", help=expect)
    key = "check the signed heads with BOT_AUDIT_KEY, and with the keys before it, each in a file"
    verify.add_argument("--key", nargs="*", type=Path, metavar="FILE", help=key)
    verify.set_defaults(run=_verify_trail)
    return parser


def _checked(read: Callable[[], T]) -> T:
    """Read a word of the command line."""
    try:
        return read()
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _variables() -> Variables:
    return read_variables(os.environ, DOTENV)


def _print_manifest(options: argparse.Namespace) -> int:
    print(json.dumps(_checked(lambda: manifest(options.url)), indent=2, ensure_ascii=False))
    return 0


def _examine(options: argparse.Namespace) -> int:
    try:
        settings = read_settings(values := _variables())
    except SettingsError as error:
        return report([problem("settings", str(error), "Fix each variable it lists.")], as_json=options.json)
    configure_logs("CRITICAL", "text", settings.secrets)  # each finding says what went wrong
    findings = asyncio.run(examine(settings, unknown=unknown_names(values, os.environ), posts=options.post))
    return report(findings, as_json=options.json)


def _print_trail(options: argparse.Namespace) -> int:
    since = _checked(lambda: read_since(options.since, time.time())) if options.since else 0.0
    url = read_database_url(_variables())
    asyncio.run(print_trail(url, options.format, since=since, remediation=options.remediation, user=options.user))
    return 0


def _verify_trail(options: argparse.Namespace) -> int:
    expected = None if options.expect is None else _checked(lambda: read_head(options.expect))
    url = read_database_url(values := _variables())
    keys = [] if options.key is None else read_audit_keys(values, options.key)
    return 0 if asyncio.run(print_verdict(url, expected, keys)) else FAILED


def _serve(_options: argparse.Namespace) -> int:
    settings = read_settings(values := _variables())
    log = LineWriter(sys.stderr)
    configure_logs(settings.log_level, settings.log_format, settings.secrets, log)
    for name in unknown_names(values, os.environ):
        logger.warning("%s isn't a setting of this version, so it does nothing", name)
    reread = (lambda: read_settings(_variables())) if secret_files(values) else None
    gc.set_threshold(GARBAGE_AFTER)
    run = import_module("uvloop").run if find_spec("uvloop") else asyncio.run  # the faster one, where it is installed
    try:
        run(_until_signalled(settings, reread))
    finally:
        log.close()
    return 0


async def _until_signalled(settings: Settings, reread: Callable[[], Settings] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does it
            loop.add_signal_handler(number, stop.set)
    await App(settings, reread=reread).run(stop)


if __name__ == "__main__":
    sys.exit(main())
