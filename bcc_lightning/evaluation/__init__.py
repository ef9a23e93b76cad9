"""Figures of merit: metrics of predictions, their intervals, warnings about figures that mean little, and the plots of both.

Only labels and probabilities are needed here; no network and no data set is known.
"""
