"""What ends a command early: a sentence for the user and an exit code. Raised anywhere here, printed by `main`."""

FAILED = 1
USAGE = 2
UNREACHABLE = 3
STILL_RUNNING = 4


class CommandFailed(Exception):
    """`message` says what went wrong and what to do; the exit code is one of this module's constants."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message, self.exit_code = message, exit_code
