"""Corrections for rare classes. They see the labels of the training part only."""
