"""Decide on Together AI node remediations from Slack."""
