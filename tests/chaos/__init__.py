"""`make chaos` runs it for long; `make test` for a few seconds, on both databases."""
