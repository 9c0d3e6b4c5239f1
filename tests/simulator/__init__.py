"""Slack and Together as servers on loopback, with state of their own: for the tests and for the demo."""
