"""Hyper-parameter search: Optuna decides, fresh `fit` processes do the work, an executor places them.

A trial is an ordinary run of `engine`, reached through a channel; nothing here trains.
"""
