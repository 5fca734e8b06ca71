"""What the documents say is there."""

import re
from pathlib import Path

from shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_is_explained() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    names = {f"ATTUNE_{name.upper()}" for name in Settings.model_fields}
    rows = set(re.findall(r"^\| `(ATTUNE_[A-Z_]+)`", page, flags=re.MULTILINE))
    assert rows == names


def test_every_link_within_the_project_leads_somewhere() -> None:
    dead = {
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
        for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", page.read_text())
        if not (page.parent / target).exists()
    }
    assert not dead


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    assert named <= targets
