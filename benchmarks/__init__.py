"""Benchmarks: one script per question, the peers side by side in one run."""
