"""Everything that can go wrong, as values: a class, a sentence and a next step each.

::

    BotError                          str(error) is the sentence and the next step, fit to post
    ├── NotAttempted                  nothing was sent to Together; told to the person alone
    │   ├── UnreadableCommand         a part is missing or is no ID
    │   ├── UnreadableButton          the button's value is not one this bot writes
    │   ├── UnknownControl            a button, dialog or command this version does not have
    │   ├── NotAllowed                this person, channel or workspace can't decide
    │   │   └── NotChecked            Slack couldn't say whether they may
    │   ├── AlreadyInFlight           somebody is deciding on this remediation right now
    │   ├── GuardrailRefusal          a guard rail keeps an approval from being sent
    │   │   ├── SecondPersonNeeded    this person has approved already, and another one must
    │   │   ├── LimitReached          as many nodes are in repair as may be at once
    │   │   ├── Paused                somebody has paused approvals
    │   │   └── NotReadable           another version of the bot wrote what bears on it, such as holds
    │   ├── Observing                 the bot decides nothing in this cluster
    │   ├── NotTracked                a hold on an alert that another tool posted
    │   ├── NoMatch                   nothing open has this name or ID
    │   ├── NoReference               a message or thread that isn't about one remediation
    │   ├── NotConfirmed              a selection that is somebody else's, or was confirmed already
    │   ├── SubmittedBefore           a dialog that was submitted already, and stayed open
    │   ├── NothingSelected           a button for a selection, and nothing selected that still waits
    │   ├── NothingToStop             a selection that has nothing left to stop
    │   ├── NothingToResume           approvals that are not paused
    │   ├── Overloaded                the bot is stopping or full
    │   ├── DialogNotShown            Slack couldn't show a dialog
    │   ├── Interrupted               what was asked for may not have been shown: its process ended
    │   ├── TooManyRequests           one person has too much under way
    │   └── RefusedWithoutDatabase    the bot cannot write down what was asked, or what it is about to do
    ├── TogetherError                 a call was attempted; told to the channel
    │   ├── NotReached                no connection was made: the only one that may say that nothing was changed
    │   ├── RateLimited               429
    │   ├── InvalidIds                400 with code 3
    │   ├── NotFound                  404
    │   ├── WrongState                400 with code 9, 409: usually shown as the present card instead
    │   ├── KeyRefused                401, 403
    │   ├── RequestRefused            any other 4xx
    │   ├── AmbiguousResponse         a decision that was sent may have taken effect: read it back
    │   │   ├── ServerError           5xx
    │   │   ├── NoAnswer              a timeout or a cut line after the request went out
    │   │   └── UnreadableAnswer      not a remediation, too large, a redirect, another remediation
    │   ├── CheckFailed               a person's own look failed
    │   ├── ReadFailed                the read before a decision failed, so the decision was not sent
    │   └── OutcomeUnknown            the decision was sent, and reading it back failed too
    ├── Expired                       no process ran for so long that the decision is no longer sent
    ├── NotRecorded                   the database is away: what became of the decision isn't certain
    ├── MayBeDone                     whether a pause or another change of the bot's own was made isn't certain
    ├── RequestExpired                no process ran for so long that such a change is no longer made
    └── InternalError                 a bug in the bot

    InvalidId                         a ValueError: a text that is no ID
    DirectoryUnavailable              Slack could not say who somebody is
    StorageUnavailable                the database did not do it
    LeaseLost                         another process has taken this decision, or the watch, over
    PostFailed, PostUncertain         the alert channel did not take a message, or may have
    StartError                        the bot cannot start as it is set up; told on the terminal
"""

from bot.errors.base import (
    DOUBTFUL,
    BotError,
    DirectoryUnavailable,
    Expired,
    InternalError,
    InvalidId,
    LeaseLost,
    MayBeDone,
    NotRecorded,
    NotShown,
    OutcomeKind,
    PostFailed,
    PostUncertain,
    RequestExpired,
    StartError,
    StorageUnavailable,
)
from bot.errors.refusals import (
    AlreadyInFlight,
    DialogNotShown,
    GuardrailRefusal,
    Interrupted,
    LimitReached,
    NoMatch,
    NoReference,
    NotAllowed,
    NotAttempted,
    NotChecked,
    NotConfirmed,
    NothingSelected,
    NothingToResume,
    NothingToStop,
    NotReadable,
    NotTracked,
    Observing,
    Overloaded,
    Paused,
    RefusedWithoutDatabase,
    SecondPersonNeeded,
    SubmittedBefore,
    TooManyRequests,
    UnknownControl,
    UnreadableButton,
    UnreadableCommand,
)
from bot.errors.together import (
    AmbiguousResponse,
    CheckFailed,
    InvalidIds,
    KeyRefused,
    NoAnswer,
    NotFound,
    NotReached,
    OutcomeUnknown,
    RateLimited,
    ReadFailed,
    RequestRefused,
    ServerError,
    TogetherError,
    UnreadableAnswer,
    WrongState,
)
