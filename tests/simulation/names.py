"""What the world's channels and groups are called."""

CHANNEL, ON_CALL, OPERATORS = "C0OPS", "S0ONCALL", "S0OPS"
