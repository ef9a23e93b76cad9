"""How a trained network leaves this project: as a file that others run, and as a server.

Classifying files and counting smears here belongs to `prediction` and `differential`.
"""
