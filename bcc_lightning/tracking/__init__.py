"""Runs on disk and in MLflow: the store, a run's folder and files, who may train it, how it ends, is resumed and found again.

Nothing is trained here. Which steps a run has belongs to `engine`, what is printed about it too.
"""
