"""The differential count of a blood smear: shares by class with limits, and their agreement with an examiner's counts.

What belongs here: counts by slide, exact limits, the correction for a network's known confusions, comparison of methods, and the
figures and tables of both. Only counts and names are needed; networks, images and commands do not belong here.
"""
