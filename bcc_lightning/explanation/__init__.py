"""Explanation of a network's predictions by activation maps."""
