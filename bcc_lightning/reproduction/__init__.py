"""The table that puts finished runs beside the figures that the five sources published.

Runs are only read here; training belongs to `engine`, the recipes themselves to ``experiments/``.
"""
