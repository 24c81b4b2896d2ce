"""What every test runs under: shapes checked at run time, the smoke profile, and a global state that is put back."""

import contextlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from filelock import FileLock

os.environ.setdefault("VQDIFF_PROFILE", "smoke")
os.environ.setdefault("MPLBACKEND", "agg")

if os.environ.get("JAXTYPING_DISABLE", "").lower() not in ("1", "true"):
    # Before the package's first import: every annotation becomes a check at each call.
    # PEP 484 lets an int stand where a float is asked for; beartype does so when told.
    from jaxtyping import install_import_hook

    install_import_hook("vqdiff_edu", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

import torch  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# Deadlines fail on a busy machine and say nothing about the code. In CI the examples are the same each time.
_shared = {"deadline": None, "max_examples": 25, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("local", **_shared)
settings.register_profile("ci", derandomize=True, print_blob=True, **_shared)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=0, help="where the random numbers of every test start (default 0; make soak tries others)")


@pytest.fixture(autouse=True)
def _global_state_is_restored(request):
    """A test may seed, switch gradients off or set variables; the next one must not notice. Each starts from the same random numbers."""
    environment, python, arrays, torch_state = dict(os.environ), random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    gradients, dtype, deterministic = torch.is_grad_enabled(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    for seed in (random.seed, numpy.random.seed, torch.manual_seed):
        seed(request.config.getoption("--seed"))
    yield
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    random.setstate(python)
    numpy.random.set_state(arrays)
    torch.set_rng_state(torch_state)
    torch.set_grad_enabled(gradients)
    torch.set_default_dtype(dtype)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="session")
def playwright():
    """Drives browsers for tests/live and tests/site: one for a process, since a second one can't start beside it."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: NO PAGE IS TRIED IN A BROWSER (pip install playwright)"
    )
    with sync_api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def chromium(playwright):
    """The system's Chromium or, without one, playwright's own."""
    from playwright.sync_api import Error

    import live

    try:
        browser = playwright.chromium.launch(executable_path=live.chromium(), args=live.FLAGS)
    except Error as problem:
        why = f"NO PAGE IS TRIED IN A BROWSER (apt install chromium, or playwright install chromium): {str(problem)[:80]}"
        pytest.skip(f"no Chromium starts: {why}")
    yield browser
    browser.close()


AXE = Path(__file__).parent / "site" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="session")
def axe():
    """axe-core at the version of package-lock.json; npm brings it once."""
    with FileLock(AXE.parents[2] / ".axe.lock"):
        if not AXE.exists() and (npm := shutil.which("npm", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")):
            path = f"{Path(npm).parent}{os.pathsep}{os.environ['PATH']}"  # npm finds node beside itself
            command = [npm, "ci", "--prefix", str(AXE.parents[2]), "--no-audit", "--no-fund"]
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, timeout=120)
    if not AXE.exists():
        pytest.skip("axe-core is missing: NOBODY LOOKS FOR BARRIERS (npm ci --prefix tests/site)")
    return AXE.read_text(encoding="utf-8")
