"""Compares the instants that Port writes."""

from datetime import datetime


def is_before(moment: str, instant: str) -> bool:
    """Return whether one ISO instant is before another; one that cannot be read counts as recent."""
    try:
        return datetime.fromisoformat(moment) < datetime.fromisoformat(instant)
    except (ValueError, TypeError):  # TypeError: one of them names no time zone
        return False
