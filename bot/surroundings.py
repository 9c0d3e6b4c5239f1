"""The doctor's checks of what is around the bot: its port, the copy of its audit trail, and other tools."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import httpx

from bot.findings import Finding, ok, problem, warning
from bot.logs import named
from bot.models import Target
from bot.settings import Settings
from bot.tasks import in_thread
from bot.trail import STANDARD_OUTPUT
from bot.wiring import destinations, plain_client

SECONDS = 10.0
_OURS = "remediation_bot_"


async def look_around(settings: Settings, session: aiohttp.ClientSession) -> AsyncIterator[Finding]:
    """Yield what each check finds. Nothing is changed, and no event is sent."""
    async for finding in _running_bot(settings, session):
        yield finding
    if settings.bot_audit_file:
        yield await _audit_copy(settings.bot_audit_file)
    for target, url in destinations(settings).urls.items():
        yield await _tool(target, url)
    if unknown := ", ".join(settings.unknown_modes):
        yield warning("two people", f"this version doesn't know {unknown}", "Check BOT_TWO_PEOPLE_MODES.")
    is_reminded = settings.bot_remind_minutes or settings.bot_escalate or settings.bot_pagerduty_when == "opened"
    if settings.bot_pagerduty_key and not (settings.bot_alert_channel and is_reminded):
        fix = "Set BOT_ALERT_CHANNEL, and BOT_REMIND_MINUTES or BOT_PAGERDUTY_WHEN=opened."
        yield warning("PagerDuty incidents", "none for what waits for approval", fix)


async def _running_bot(settings: Settings, session: aiohttp.ClientSession) -> AsyncIterator[Finding]:
    """Ask the bot that runs here, which alone knows how many connections Slack has to this app."""
    check, base = "running bot", f"http://{_host(settings.host)}:{settings.port}"
    try:
        async with session.get(f"{base}/readyz", allow_redirects=False) as answer:
            said = (await answer.text()).strip().replace("\n", " ")
        metrics = await _metrics(session, base)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        metrics = {}
    if not metrics:
        yield _port(settings)
        return
    if settings.slack_app_token:
        yield _sockets(metrics, is_alone=settings.database_url.startswith("sqlite:"))
    yield ok(check, said) if said == "ready" else warning(check, said, "See Troubleshooting.")


async def _metrics(session: aiohttp.ClientSession, base: str) -> Mapping[str, str]:
    """Return the bot's metrics without labels; nothing where it's another program."""
    async with session.get(f"{base}/metrics", allow_redirects=False) as answer:
        lines = (await answer.text()).splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith(_OURS) and " " in line)


def _sockets(metrics: Mapping[str, str], *, is_alone: bool) -> Finding:
    all_of_app, here = (int(float(metrics.get(f"{_OURS}slack_{name}", 0))) for name in ("app_sockets", "sockets"))
    if all_of_app <= here:
        return ok("sockets", f"{here} open, all of this process")
    detail = f"Slack last counted {all_of_app} connections to this app, and this process has {here}"
    if not is_alone:
        return ok("sockets", f"{detail}, so the others must be on the same database")
    return warning("sockets", detail, "Slack sends some clicks to the others. Stop them: SQLite is for one process.")


def _host(host: str) -> str:
    """Return where to ask what listens on an address."""
    if host in {"", "0.0.0.0"}:  # noqa: S104 - the setting's own value
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host


def _port(settings: Settings) -> Finding:
    """Return whether the bot could listen: bind the port, and let it go at once."""
    check, where = "running bot", f"{settings.host}:{settings.port}"
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            settings.host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except (OSError, UnicodeError) as error:
        fix, why = "Stop what uses the port, or change HOST or PORT.", getattr(error, "strerror", "") or error
        return problem(check, f"none, and the bot can't listen on {where}: {why}", fix)
    return ok(check, f"none on port {settings.port}")


async def _audit_copy(path: str) -> Finding:
    check = "audit copy"
    if path == STANDARD_OUTPUT:
        return ok(check, "to standard output")
    try:
        async with asyncio.timeout(SECONDS):
            why = await in_thread(_unwritable, Path(path))
    except TimeoutError:
        why = "the file doesn't answer"
    if why:
        fix = "Create the folder, or let the bot's user write the file."
        return problem(check, f"{path} can't be written: {why}", fix)
    return ok(check, f"{path} can be written")


def _unwritable(path: Path) -> str:
    """Return why a file can't be written; empty where it can. It isn't made."""
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            return "it's a folder"
        there = path
    except FileNotFoundError:
        there = path.parent
        if not there.is_dir():
            return f"there is no {there}"
    except OSError as error:
        return error.strerror or type(error).__name__
    return "" if os.access(there, os.W_OK) else f"no permission for {there}"


async def _tool(target: Target, url: str) -> Finding:
    """Look whether anything answers a request that carries no event; any answer will do."""
    check = "PagerDuty" if target is Target.PAGERDUTY else "webhook"
    try:
        async with (
            asyncio.timeout(SECONDS),
            plain_client(url) as client,
            client.stream("HEAD", url, follow_redirects=False),
        ):
            return ok(check, "can be reached")
    except (httpx.HTTPError, TimeoutError) as error:
        fix = "Check the URL, the network, and the proxy in HTTPS_PROXY."
        return warning(check, f"can't be reached ({named(error)})", fix)
