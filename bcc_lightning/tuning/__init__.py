"""Hyper-parameter search: Optuna decides, fresh `fit` processes do the work, an executor places them."""
