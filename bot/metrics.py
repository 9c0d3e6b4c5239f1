"""What the bot counts and measures, for Prometheus; `/metrics` serves it. Names are part of the contract."""

from prometheus_client import Counter, Gauge, Histogram

_PREFIX = "remediation_bot"
_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
_CALLS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
_PEOPLE = (30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0)

ACKS = Counter(f"{_PREFIX}_acks", "Requests from Slack, by kind and the HTTP status they got.", ["kind", "status"])
ACK_SECONDS = Histogram(f"{_PREFIX}_ack_seconds", "How long Slack waited for the ack.", ["kind"], buckets=_QUICK)
DECISIONS = Counter(
    f"{_PREFIX}_decisions",
    "Requests that ended, by verb and outcome, such as one that changed before it was sent.",
    ["verb", "outcome"],
)
DECISION_SECONDS = Histogram(
    f"{_PREFIX}_decision_seconds", "From a request to its recorded outcome.", ["verb"], buckets=_CALLS
)
TIME_TO_DECISION = Histogram(
    f"{_PREFIX}_time_to_decision_seconds", "From a remediation's creation to the decision.", ["verb"], buckets=_PEOPLE
)
OVERRIDES = Counter(f"{_PREFIX}_overrides", "Approvals by one person over the two-person rule and the repair limit.")
REFUSALS = Counter(f"{_PREFIX}_refusals", "Refused before anything was decided, by reason.", ["reason"])
TOGETHER_CALLS = Counter(f"{_PREFIX}_together_calls", "Calls to Together, by call and status.", ["call", "status"])
TOGETHER_SECONDS = Histogram(f"{_PREFIX}_together_seconds", "How long Together took.", ["call"], buckets=_CALLS)
SLACK_CALLS = Counter(f"{_PREFIX}_slack_calls", "Calls to Slack, by method and result.", ["method", "status"])
SLACK_SECONDS = Histogram(f"{_PREFIX}_slack_seconds", "How long Slack took.", ["method"], buckets=_CALLS)
OUTWARD = Counter(f"{_PREFIX}_outward_events", "Events for other tools, by target and result.", ["target", "result"])
DATABASE_SECONDS = Histogram(
    f"{_PREFIX}_database_seconds", "How long transactions took, with their wait.", ["kind"], buckets=_QUICK
)
DATABASE_FAILURES = Counter(f"{_PREFIX}_database_failures", "Transactions that the database didn't do.")
DATABASE_UP = Gauge(f"{_PREFIX}_database_up", "Whether the last look at the database succeeded.")
READY = Gauge(f"{_PREFIX}_ready", "Whether the bot can work, as /readyz says it.")
UNDELIVERED = Gauge(f"{_PREFIX}_undelivered_answers", "Answers that Slack hasn't taken yet.")
UNDELIVERED_AGE = Gauge(f"{_PREFIX}_undelivered_oldest_seconds", "The age of the oldest of them; 0 for none.")
SET_ASIDE = Gauge(f"{_PREFIX}_set_aside", "Unreadable decisions, set aside.")
OPEN_ALERTS = Gauge(f"{_PREFIX}_open_alerts", "Alerts that are open, by the remediation's state.", ["state"])
OLDEST_WAITING = Gauge(
    f"{_PREFIX}_oldest_waiting_seconds", "How long the oldest that isn't on hold has waited for approval; 0 for none."
)
STUCK = Counter(f"{_PREFIX}_stuck_repairs", "Repairs that people were told may be stuck.")
UNREPAIRED = Gauge(
    f"{_PREFIX}_unrepaired_faults",
    "Alerts that fire while no repair of their node is open, as the process with the watch knows it, by severity.",
    ["severity"],
)
BRAKES = Gauge(f"{_PREFIX}_storm_brakes", "Clusters whose approvals the storm brake has paused; 0 elsewhere.")
VERIFIED = Counter(
    f"{_PREFIX}_repairs_verified", "What became of repaired nodes, by mode and result.", ["mode", "result"]
)
SOCKETS = Gauge(f"{_PREFIX}_slack_sockets", "Socket Mode connections of this process that are up.")
APP_SOCKETS = Gauge(f"{_PREFIX}_slack_app_sockets", "Socket Mode connections of the app, as Slack said last.")
IS_WATCHING = Gauge(f"{_PREFIX}_watch_leader", "Whether this process holds the watch.")
WATCH_LAG = Gauge(f"{_PREFIX}_watch_lag_seconds", "How long ago the longest unread cluster was read; 0 elsewhere.")
WATCH_INTERVAL = Gauge(
    f"{_PREFIX}_watch_interval_seconds", "How often each cluster should be read; 0 where none is watched."
)
QUEUE = Gauge(f"{_PREFIX}_watch_queue", "Messages that wait for the watch.", ["lane"])
IN_PROGRESS = Gauge(f"{_PREFIX}_in_progress", "What was acknowledged and isn't done yet.")
