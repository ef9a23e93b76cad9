"""The command line: arguments, experiment files, and the parser that turns them into data module and module."""
