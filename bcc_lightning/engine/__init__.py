"""Runs: what is trained, tested, explained and filed, and in which order; ensembles, cross-validation and networks in use.

How MLflow is spoken to belongs to `tracking`, how a search chooses its trials to `tuning`.
"""
