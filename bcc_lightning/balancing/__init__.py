"""Corrections for rare classes in the training set: weights, draws, and synthetic cells by SMOTE.

Only labels and pixels are needed here. Augmentation belongs to `transforms`, balanced folders on disk to `datasets`.
"""
