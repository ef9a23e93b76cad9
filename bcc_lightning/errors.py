"""The errors that a person can cause and mend, and one end that is none."""


class UserError(Exception):
    """A mistake in a command, a file or the surroundings, told in one or a few lines.

    The message names the value, the allowed values and the next step. Commands print it without a traceback and end with
    exit code 2 (``--traceback`` shows the traceback).
    """


class NonFiniteLossError(UserError):
    """The training loss became infinite or not a number."""


class Pruned(Exception):  # noqa: N818 - no error
    """A search has seen enough of a trial, and ends it."""
