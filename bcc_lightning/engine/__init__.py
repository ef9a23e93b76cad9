"""Runs: what is trained, tested, explained and filed, and in which order."""
