"""Without a GPU nothing here is measured; say so where it cannot be overlooked."""

import torch


def pytest_terminal_summary(terminalreporter):
    if not torch.cuda.is_available():
        terminalreporter.write_sep("!", "tests/gpu: torch sees no CUDA device here; what needs one was skipped", yellow=True)
