"""What stops a repair."""


class RepairError(Exception):
    """The comparison or the repair cannot go on; the message says what to do. Nothing is half done."""
