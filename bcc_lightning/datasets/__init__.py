"""Data sets without Lightning: which images there are, what they show, in which set they are, and batches of them.

Listing, splits, cache, decoding, tables, hashes and the painter of synthetic cells belong here. What Lightning asks for belongs
to `datamodules`, changes of pixels to `transforms`.
"""
