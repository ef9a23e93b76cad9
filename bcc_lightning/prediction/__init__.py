"""A trained network in use: files and arrays in, probabilities and tables out.

What the tables are worth, such as the limits of a differential count, belongs to `differential` and `evaluation`; how a network
leaves this project, as a file or a server, to `deployment`.
"""
