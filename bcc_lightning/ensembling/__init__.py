"""Ensembles of finished runs: who may vote together, with which weights, and what comes of it."""
