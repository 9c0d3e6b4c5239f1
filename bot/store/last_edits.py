"""The last edits of messages that are left, until Slack takes them: not the end of a process loses one."""

from sqlalchemy import bindparam, delete, select

from bot.models import Message
from bot.store.connection import Connection, dump, read_json
from bot.store.tables import last_edits, messages, upsert

# A message that is tracked again, as its process ended before it was left, is drawn as what it shows.
_OWED = select(last_edits).where(last_edits.c.ts.not_in(select(messages.c.ts).where(messages.c.ts.is_not(None))))
_WRITE = upsert(last_edits)
_DELETE = delete(last_edits).where(
    last_edits.c.channel_id == bindparam("b_channel"), last_edits.c.ts == bindparam("b_ts")
)


def owed(connection: Connection) -> dict[tuple[str, str], Message]:
    """Return what messages are yet to say, by their channel and Slack's `ts`."""
    rows = connection.execute(_OWED)
    return {(row.channel_id, row.ts): shows for row in rows if (shows := read_json(Message, row.body))}


def note(connection: Connection, channel_id: str, ts: str, shows: Message | None) -> None:
    """Write down what a message is yet to say; None once it does, or never will.

    Raises:
        LeaseLost: another process watches now.
    """
    if shows:
        connection.execute(_WRITE, channel_id=channel_id, ts=ts, body=dump(shows))
    else:
        connection.execute(_DELETE, b_channel=channel_id, b_ts=ts)
