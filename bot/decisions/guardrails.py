"""The guard rails before an approval: each of them is off unless it is set."""

import asyncio
from dataclasses import dataclass, field

from bot.cards import CardConfig
from bot.clock import Clock
from bot.errors import (
    LimitReached,
    NotAllowed,
    NotChecked,
    NotFound,
    Paused,
    ReadFailed,
    SecondPersonNeeded,
    TogetherError,
    UnreadableAnswer,
)
from bot.models import (
    FINAL,
    IN_REPAIR,
    RAN,
    RULES,
    Actor,
    FirstApproval,
    Job,
    Pause,
    Pauser,
    Remediation,
    RemediationRef,
    RepairLimit,
    State,
    Verb,
    repairs_since,
)
from bot.mrkdwn import escape, when
from bot.policy import Policy
from bot.store import Database, approvals, pauses, rows
from bot.together import TogetherClient

CLUSTER_FRESH_SECONDS = 600.0
LOOKS = 20  # remediations that are read one by one; any beyond may be in repair


def paused_error(pause: Pause, asker: str) -> Paused:
    """Return the error that says who has paused approvals, for the person who wanted to approve."""
    longest: dict[str, Pauser] = {}
    for pauser in pause.people:
        longest.setdefault(pauser.user_id, pauser)
    until = [f"<@{pauser.user_id}> until {when(pauser.until)}" for pauser in longest.values()]
    if pause.brakes:
        also = f", and by {' and '.join(until)}" if until else ""
        return Paused(
            f"approvals are paused automatically, because {pause.brakes[0].broken} were broken at once{also}.",
            "You can still cancel. To approve now, press Resume approvals… on its message in the channel.",
        )
    first, *others = longest.values()
    why = f"“{escape(first.reason, 200)}”" if first.reason else ""
    said = f"<@{first.user_id}> paused approvals until {when(first.until)}"
    if others:
        said += f"{f' ({why})' if why else ''}, and {' and '.join(until[1:])}."
    else:
        said += f": {why}." if why else "."
    ask = "" if set(longest) == {asker} else "ask them, or "
    return Paused(said, f"You can still cancel. To approve now, {ask}press Resume approvals… in this app's Home.")


def two_needed_error() -> SecondPersonNeeded:
    """Return the error that says that no other mode can be approved where two people must."""
    return SecondPersonNeeded(
        "this needs two approvers, which the menu of other modes can't collect.",
        "Approve what is suggested, or use the Together console.",
    )


def first_is_over(first: FirstApproval | None) -> SecondPersonNeeded:
    """Return the error for an approval that isn't enough any more: its first was taken back, or two are needed now."""
    why = "the first of its two approvals no longer counts." if first else "this needs two approvers now."
    return SecondPersonNeeded(why, "Review it and approve again.")


@dataclass(slots=True)
class Guardrails:
    """Asks, before an approval is sent, whether it may be."""

    config: CardConfig
    together: TogetherClient
    database: Database
    policy: Policy
    clock: Clock
    break_glass: Policy | None
    _sizes: dict[str, tuple[float, int]] = field(default_factory=dict, init=False)

    async def check(self, job: Job, present: Remediation) -> FirstApproval | None:
        """Let an approval pass, or keep it as the first of two.

        Args:
            job: the approval; its claim keeps others from approving the same remediation.
            present: the remediation as it was last read.

        Returns:
            The first approval, when this is the one and a second person's is awaited; None when it may be sent.

        Raises:
            GuardrailRefusal: it must not be sent.
            ReadFailed, StorageUnavailable: what it depends on cannot be read.
        """
        await self._check_pause(job)
        if job.request.overrides:
            await self._check_override(job)
            return None
        await self._check_limit(job)
        return await self._check_people(job, present)

    async def has_first(self, job: Job) -> bool:
        """Return whether the first of two approvals, where this is the second, still counts.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        first, request = job.about.first, job.request
        if request.overrides or not (first and first.precedes(job.seen, request.actor.user_id)):
            return True
        return (await self.database.read(rows.first_and_now, request.ref))[0] is not None

    async def _check_override(self, job: Job) -> None:
        """Check that the person may approve alone, over the two-person rule and the limit.

        Raises:
            NotAllowed: the person may not.
        """
        if self.break_glass is None:
            raise NotAllowed("Nobody can approve alone here.", "Ask the bot's admin about BOT_BREAK_GLASS.")
        try:
            await self.break_glass.authorize_request(job.request)
        except NotChecked:
            raise
        except NotAllowed as error:
            raise NotAllowed("You can't approve alone: you aren't in BOT_BREAK_GLASS.", error.next_step) from error

    async def _check_pause(self, job: Job) -> None:
        if pause := await self.database.read(pauses.active, [job.request.ref.cluster_id]):
            raise paused_error(pause, job.request.actor.user_id)

    async def _check_limit(self, job: Job) -> None:
        """Let an approval pass when fewer nodes are in repair than may be."""
        ref, limit = job.request.ref, self.config.limit
        if limit == RepairLimit():
            return
        try:
            # In this order: what is answered between the two reads is counted by the second.
            about_to_be = await self.database.read(approvals.about_to_be_in_repair, job)
            sure, unread = await self._in_repair(ref.cluster_id)
            total = await self._size(ref.cluster_id) if limit.percent is not None else None
        except TogetherError as cause:
            raise ReadFailed(RULES[Verb.APPROVE].noun, cause) from cause
        busy = (sure | unread | {other.instance_id for other in about_to_be}) - {ref.instance_id}
        rule = limit.allowed(total)
        if rule is None:
            raise LimitReached(
                f"the repair limit is {limit.percent}% of the cluster, and Together doesn't say how many nodes it has.",
                "Use the Together console, or ask the bot's admin to change the limit.",
            )
        allowed, why = rule
        if allowed == 0:
            raise LimitReached(
                f"the repair limit ({why}) allows none.",
                "Use the Together console. The bot's admin can change the limit.",
            )
        if len(busy) >= allowed:
            of = f" of {total}" if total else ""
            are = "node is" if (total or len(busy)) == 1 else "nodes are"
            or_about = "" if busy <= sure else " or about to be"
            first = "one finishes" if len(busy) == allowed else f"{len(busy) - allowed + 1} finish"
            raise LimitReached(
                f"{len(busy)}{of} {are} already in repair{or_about}, and the limit is {why}.",
                f"Try again when {first}, or cancel this one.",
            )

    async def _in_repair(self, cluster_id: str) -> tuple[set[str], set[str]]:
        """Return the instances in repair, and those that may be, which are too many to read.

        A list is asked for by states, so a state that this version of the bot doesn't know is in none; and it may lag
        behind what was approved a moment ago. So what the bot tracks or has just approved is read alone.
        """
        lately = await self.database.read(approvals.approved_lately, cluster_id)
        listed = await self.together.scan(cluster_id, states=sorted(IN_REPAIR))
        nodes = {_instance_of(item) for item in listed if not _is_no_repair(item, cluster_id)}
        tracked = await self.database.read(approvals.at_work, cluster_id)
        unlisted = [ref for ref in dict.fromkeys((*lately, *tracked)) if ref.instance_id not in nodes]
        looked = await asyncio.gather(*(self._is_at_work(ref, just_approved=ref in lately) for ref in unlisted[:LOOKS]))
        nodes |= {ref.instance_id for ref, at_work in zip(unlisted, looked, strict=False) if at_work}
        return nodes, {ref.instance_id for ref in unlisted[LOOKS:]}

    async def _is_at_work(self, ref: RemediationRef, *, just_approved: bool) -> bool:
        try:
            present = await self.together.get(ref)
        except NotFound:
            return False
        return present.is_under_way or (just_approved and present.is_waiting)

    async def _size(self, cluster_id: str) -> int | None:
        known = self._sizes.get(cluster_id)
        if known and self.clock.monotonic() - known[0] < CLUSTER_FRESH_SECONDS:
            return known[1]
        try:
            size = (await self.together.get_cluster(cluster_id)).nodes
        except NotFound:
            size = None
        if size:  # else it may be known with the next look
            self._sizes[cluster_id] = (self.clock.monotonic(), size)
        return size

    async def _check_people(self, job: Job, present: Remediation) -> FirstApproval | None:
        request, modes = job.request, self.config.two_people.modes
        is_too_often = await self._is_too_often(job)
        if request.instead_of is not None:
            # One person is enough for the suggested mode, so also for another one that needs one person.
            if is_too_often or {request.saw.mode, request.instead_of} & modes:
                raise two_needed_error()
            return None
        if present.mode not in modes and not is_too_often:
            return None
        user_id = request.actor.user_id
        first, now = await self.database.read(rows.first_and_now, request.ref)
        if first and first.counts_for(present):
            if first.user_id == user_id:
                raise SecondPersonNeeded(
                    f"this repair needs two approvers, and you already approved it {when(first.at)}.",
                    "Ask another operator to approve.",
                )
            if await self._may_still(first, job):
                return None
        return FirstApproval(user_id, present.mode, now, job.id, present.episode)

    async def _is_too_often(self, job: Job) -> bool:
        """Return whether the node had too many repairs for one person to approve the next, now or by its card."""
        rule = self.config.two_people
        ref = job.request.ref
        about = job.about
        if not rule.repairs:
            return False
        if about.history and rule.is_too_often(about.history.lately):
            return True
        try:
            others = await self.database.read(approvals.may_run, job)  # first: what is answered since then is listed
            tracked = await self.database.read(approvals.of_node, ref)
            listed = await self.together.list_remediations(ref.cluster_id, ref.instance_id)
        except TogetherError as cause:
            raise ReadFailed(RULES[Verb.APPROVE].noun, cause) from cause
        # Together lists the last incident of each ID only, and its lists lag behind.
        earlier = [incident.remediation for alert in tracked for incident in alert.earlier]
        earlier += [alert.remediation for alert in tracked if alert.ref == ref and alert.remediation.state in RAN]
        repairs = repairs_since(listed, earlier, ref, self.clock.now() - rule.seconds)
        unlisted = {other.remediation_id for other in others}
        unlisted |= {alert.remediation.id for alert in tracked if alert.as_told.is_under_way and not alert.is_unlisted}
        unlisted -= {repair.id for repair in repairs if repair.id != ref.remediation_id}
        unlisted -= {repair.id for repair in listed if repair.state in FINAL}
        return rule.is_too_often(len(repairs) + len(unlisted))

    async def _may_still(self, first: FirstApproval, job: Job) -> bool:
        """Return whether the first of two people may approve at the moment in which the second one does.

        Raises:
            SecondPersonNeeded: Slack can't say, which is no reason to forget the first approval.
        """
        actor = Actor(first.user_id, "", job.request.actor.team_id)
        try:
            await self.policy.authorize(Verb.APPROVE, actor, job.request.place.channel_id)
        except NotChecked as error:
            raise SecondPersonNeeded(
                f"Slack couldn't say whether <@{first.user_id}>, who approved first, still can.",
                "Try again in a minute.",
            ) from error
        except NotAllowed:
            return False
        return True


def _is_no_repair(item: object, cluster_id: str) -> bool:
    """Return whether an item of a list of repairs isn't one: it waits, has ended, or is in another cluster."""
    if not isinstance(item, dict):
        return False
    is_elsewhere = (item.get("cluster_id") or cluster_id) != cluster_id
    return is_elsewhere or str(item.get("state")) in {State.PENDING_APPROVAL, *FINAL}


def _instance_of(item: object) -> str:
    """Return the node of an item in a list of what is in repair.

    Raises:
        UnreadableAnswer: it doesn't say, so nobody can tell how many there are.
    """
    instance_id = item.get("instance_id") if isinstance(item, dict) else None
    if not isinstance(instance_id, str | int) or instance_id == "":
        raise UnreadableAnswer("an item without a node")
    return str(instance_id)  # as the watch reads it
