"""Albumentations pipelines by name."""
