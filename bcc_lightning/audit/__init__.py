"""The audit of a data set: unreadable images, copies, suspect labels, outliers, and shortcuts that give a class away.

It reads images as they are stored and judges them without training a network of this project. What is done about its findings,
such as leaving out copies, belongs to `datasets`.
"""
