"""Data sets without Lightning: which images there are, what they show, in which set they are, and batches of them."""
