"""What goes wrong when servers are fetched or started."""


class PlatformError(Exception):
    """A server cannot be fetched, started or reached; the message says what to do about it."""
