"""Corrections for rare classes. They use the labels of the training set only."""
