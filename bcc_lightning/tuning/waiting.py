"""How long processes wait for one another."""

WAIT_SECONDS = 120.0
"""How long a process waits for a lock that others hold for milliseconds."""
