"""The long simulations: `python -m tests.simulation [--runs N] [--study KEY] [--write docs/validation.md]`."""

import argparse
import sys
import time
from pathlib import Path

from tests.simulation import registry
from tests.simulation.studies import STUDIES

HEAD = """# Validation by simulation

What the platform states about its errors, held against simulated campaigns in which the truth is known. The functions
that decide are those of the product. Written by `python -m tests.simulation --write docs/validation.md`; a short run of
the same studies is part of the tests. "Within" means: not further above the stated level than chance explains, with
95 % Monte Carlo bounds.
"""


def main() -> int:
    """Run the studies, print their tables, write them down if asked; non-zero when a rate is above what is stated."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--runs", type=int, help="runs of each case, instead of each study's own number")
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--study", action="append", choices=[study.key for study in STUDIES])
    parser.add_argument("--write", type=Path, help="the page to keep the tables in")
    asked = parser.parse_args()
    failed = False
    for study in STUDIES:
        if asked.study and study.key not in asked.study:
            continue
        began = time.monotonic()
        results = study.run(asked.runs or study.runs, asked.seed)
        print(f"{study.title} ({time.monotonic() - began:.0f} s)\n\n{registry.table(results)}\n", flush=True)
        failed = failed or not all(found.within for found in results)
        if asked.write:
            page = asked.write.read_text() if asked.write.exists() else HEAD
            asked.write.write_text(registry.replaced(page, study, registry.section(study, results)))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
