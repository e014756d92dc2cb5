"""Everything known of one order, wherever it is, and whether it agrees. Only reads.

`found.py` has what is told and how it is compared, `search.py` asks every part for it.
"""

from snacks.explain.found import Explanation
from snacks.explain.search import PATIENCE, Progress, explain

__all__ = ["PATIENCE", "Explanation", "Progress", "explain"]
