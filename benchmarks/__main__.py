"""`python -m benchmarks`, which `make bench` runs."""

from .run import main

main()
