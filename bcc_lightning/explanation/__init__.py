"""Where a network looked: class activation maps and saliency, and the sheet of cells that shows them.

Which layers are read is declared by `architectures`; when a run is explained is decided by `engine`.
"""
