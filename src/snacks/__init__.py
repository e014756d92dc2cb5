"""Snacks Unlimited: CQRS with change data capture, for real. Start reading at `app.py`."""

__version__ = "0.1.0"
