"""Hyper-parameter search: Optuna proposes trials, an executor starts workers, each worker runs its trials as `fit` processes."""
