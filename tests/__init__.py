"""The tests: unit, engine (real sandboxes), notebooks, benchmarks; their means are in :mod:`tests.rigs`."""
