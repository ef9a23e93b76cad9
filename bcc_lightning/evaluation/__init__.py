"""Evaluation of predictions: metrics, intervals, figures."""
