"""Speed measured against peers, each benchmark in one run: `make bench`, or `python -m tests.benchmarks [NAME …]`."""
