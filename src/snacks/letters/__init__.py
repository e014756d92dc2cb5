"""Dead letters for people: list, show, send again, drop. `store.py` reads them, `sending.py` writes."""

from snacks.letters.sending import LettersUnavailable, NoSuchLetter, NotReplayable, Standing
from snacks.letters.store import Letter, Letters, Progress

__all__ = [
    "Letter",
    "Letters",
    "LettersUnavailable",
    "NoSuchLetter",
    "NotReplayable",
    "Progress",
    "Standing",
]
