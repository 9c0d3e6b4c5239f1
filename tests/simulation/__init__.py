"""Deterministic simulation: bots, Slack, Together, people, and faults on one thread, one clock, and one seed."""
