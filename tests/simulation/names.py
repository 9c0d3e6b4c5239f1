"""What the world's channels and groups are called, and the buttons that people press."""

CHANNEL, ON_CALL, OPERATORS = "C0OPS", "S0ONCALL", "S0OPS"
APPROVE, CANCEL, REVIEW = "remediation:approve", "remediation:cancel", "digest:review"
