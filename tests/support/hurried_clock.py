"""The machine's clock, whose durations a test can have run ahead."""

from runlane.clock import SystemClock


class HurriedClock(SystemClock):
    """Times of day are true; `monotonic` is ahead by what it was told."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """So much time has passed since."""
        self._ahead += seconds
