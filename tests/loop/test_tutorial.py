"""The tutorial runs as it stands."""

import json
import os
import re
import subprocess
from pathlib import Path

import httpx

from services.stack.temporary import temporary_stack

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"


def test_every_command_of_the_tutorial_runs_and_does_what_it_says(tmp_path: Path) -> None:
    script = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))
    with temporary_stack() as target:
        environment = {
            **os.environ, "KEY": target.key, "AUDIENCE": target.audience,
            "EXPERIMENTS": target.experiments, "FEEDBACK": target.feedback,
        }  # fmt: skip
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        headers = {"Authorization": f"Bearer {target.key}"}
        found = httpx.get(f"{target.experiments}/v1/experiments/spring-mail/decision", headers=headers).json()
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    ingested = [answer for answer in said if "duplicates" in answer and "conflicts" in answer]
    assert ingested[0]["accepted"] == ingested[1]["duplicates"] > 50
    assert (found["verdict"], found["arm"]) == ("ship", "mail")
    assert [check["sendable"] for check in said[-1]["checks"]] == [False, True]
    assert "<svg" in (tmp_path / "report.html").read_text()
