"""Networks in pure torch and timm: what enters them, what they are made of, and which layers class activation maps read.

Lightning, data sets and the command line do not belong here; whoever builds a network passes sizes and numbers of classes.
"""
