"""What the world's channels and groups are called, and the buttons that people press."""

CHANNEL, OTHER_CHANNEL, ON_CALL, OPERATORS = "C0OPS", "C0OTHER", "S0ONCALL", "S0OPS"
LEADS = "S0LEADS"
CHANNELS = {CHANNEL, OTHER_CHANNEL}
MOVED = "moved to <#"  # says a message whose alert is in another channel now
APPROVE, CANCEL, REVIEW = "remediation:approve", "remediation:cancel", "digest:review"
HOLD = "remediation:hold"
MAY_ALONE = "U0CAROL"  # who may approve over the guard rails, where anybody may
