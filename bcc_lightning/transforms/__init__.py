"""Augmentation of single images by named pipelines, mixing of whole batches, and a sheet that shows what pipelines do."""
