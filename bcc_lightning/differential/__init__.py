"""The differential count: shares of the cell classes in a smear, with limits, corrected for the network's confusions.

Everything here counts what has been classified already, and compares counts with those of an examiner. Classifying belongs to
`prediction`, and figures on single cells, such as accuracy, to `evaluation`.
"""
