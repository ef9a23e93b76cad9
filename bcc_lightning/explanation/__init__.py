"""Where a network looked: maps of single cells, the sheets and pages that show them, and how far they can be trusted.

Which layers are read is declared by `architectures`; when a run is explained is decided by `engine`.
"""
