"""The examples in the docstrings are true, and the package is light enough for a service's start."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

from shared import stats

MODULES = sorted(module.name for module in pkgutil.iter_modules(stats.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_every_example_in_a_docstring_runs(name):
    module = importlib.import_module(f"shared.stats.{name}")
    found = doctest.testmod(module)
    assert found.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = [importlib.import_module(f"shared.stats.{name}") for name in MODULES]
    assert sum(bool(test.examples) for module in modules for test in finder.find(module)) >= 30


@pytest.mark.parametrize("name", MODULES)
def test_the_package_page_names_every_module(name):
    assert f"`{name}`" in stats.__doc__


def test_importing_the_statistics_does_not_import_the_three_seconds_of_scipy_stats():
    imports = "; ".join(f"import shared.stats.{name}" for name in MODULES)
    code = f"{imports}; import sys; print('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
