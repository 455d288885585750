"""The two errors a user can meet, and the exit codes they stand for."""


class R1Error(Exception):
    """A failure while doing what was asked: one line for the user, exit 1."""

    code = 1


class InputError(R1Error):
    """Bad usage or bad input: one line for the user, exit 2."""

    code = 2


class ReaderGone(Exception):
    """The reader of our output went away: clean up, say nothing, exit 0."""
