"""Data sets without Lightning: the images, their classes, the set each belongs to, and batches of them."""
