"""Benchmarks: `./snacks bench`. Start reading in `__main__.py`; what was found is in docs/performance.md."""
