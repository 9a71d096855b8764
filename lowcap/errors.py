"""What can go wrong, by whose doing: the command line turns each kind into one line and an exit code."""


class UserError(ValueError):
    """A mistake in what was asked for (exit code 2). The message names the parameter, what is allowed and what came."""


class DataError(RuntimeError):
    """Data that is missing, damaged or out of reach (exit code 1). The message names the file and the remedy."""


class BuildError(RuntimeError):
    """A book that must not be published (exit code 1). The message names the chapter or file and the cause."""
