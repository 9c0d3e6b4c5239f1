"""Slack: surfaces in, messages out. No rules, and no HTTP to Together."""
