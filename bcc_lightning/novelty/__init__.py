"""Cells that are unlike those a network was trained on: scores, a threshold from its own cells, and an alarm for whole batches.

No training, and nothing that says how a cell should be classified instead.
"""
