"""The command line: exit codes, options of a call, experiment files, and the parser that builds data module and module from them.

Nothing is trained or written here; that is the work of `engine`. Nothing below this room reads arguments.
"""
