"""Augmentation of uint8 images: pipelines by name or file, and the transforms that Albumentations lacks.

Which cells are augmented is decided by `datasets`; normalising is the module's work, on the device.
"""
