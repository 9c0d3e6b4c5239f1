"""Slack and Together as servers on loopback, with state: for the tests and for the demo."""
