"""Ours beside its peers, in one run: ``python -m tests.benchmarks`` (``./dev bench``). Ratios are the result."""
