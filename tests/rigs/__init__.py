"""What tests and benchmarks share: users, root file systems, archives, a dockerd, and the watch for leaks."""
