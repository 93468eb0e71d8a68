"""``rivermill demo``."""


def demo() -> int:
    """Replay a real data set through everything, on this machine."""
    return 0
