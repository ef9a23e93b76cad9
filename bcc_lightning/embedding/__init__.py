"""Features of cells: computed by a pretrained backbone or a trained network, kept, written, probed by simple classifiers, drawn.

The networks themselves belong to `architectures`; what a network answers, as classes, belongs to `prediction`.
"""
