"""docker-compose.yml and the Dockerfile, read the way their tools read them."""

import fnmatch
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?:(?P<kind>:\?|:-)(?P<rest>[^}]*))?\}")

Document = dict[str, Any]


def text_of(path: str) -> str:
    return (ROOT / path).read_text()


def variables() -> dict[str, str]:
    """What docker-compose.yml wants from the environment: `:?` (required), `:-` (has a default) or nothing, by name."""
    return {found["name"]: found["kind"] or "" for found in VARIABLE.finditer(text_of("docker-compose.yml"))}


def composed(environment: Mapping[str, str]) -> Document:
    """The file with its variables filled in. Raises KeyError for a required one that is missing."""

    def fill(found: re.Match[str]) -> str:
        value = environment.get(found["name"], "")
        if value or found["kind"] == ":-":
            return value or found["rest"]
        raise KeyError(found["name"])

    def filled(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: filled(value) for key, value in part.items()}
        if isinstance(part, list):
            return [filled(value) for value in part]
        return VARIABLE.sub(fill, part) if isinstance(part, str) else part

    result: Document = filled(yaml.safe_load(text_of("docker-compose.yml")))
    return result


def mounts(service: Document) -> list[tuple[str, str, str]]:
    """(source, target, mode) of everything a service mounts."""
    parts = [volume.split(":") for volume in service.get("volumes", [])]
    return [(source, target, *(mode or ["rw"])) for source, target, *mode in parts]


class Instruction(NamedTuple):
    """One instruction of the Dockerfile, e.g. COPY; `stage` counts from 0."""

    stage: int
    name: str
    rest: str


def instructions() -> list[Instruction]:
    """The Dockerfile's instructions in order, continued lines joined."""
    lines = [line for line in text_of("Dockerfile").splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    found, stage = [], -1
    for line in joined:
        name, _, rest = line.partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, rest.strip()))
    return found


def of_last_stage(name: str) -> list[str]:
    last = instructions()[-1].stage
    return [instruction.rest for instruction in instructions() if instruction[:2] == (last, name)]


def image_environment() -> dict[str, str]:
    """The variables that the image itself sets."""
    return dict(pair.split("=", 1) for rest in of_last_stage("ENV") for pair in shlex.split(rest))


def health_command() -> list[str]:
    """The command of the image's own health check."""
    (rest,) = of_last_stage("HEALTHCHECK")
    command: list[str] = json.loads(rest.partition("CMD ")[2])
    return command


def copied_from_source() -> list[tuple[str, str]]:
    """(source, target) of what is copied from the project into the image, at whatever stage."""
    rests = [i.rest.split() for i in instructions() if i.name == "COPY" and not i.rest.startswith("--from")]
    return [(source, target) for source, target in rests]


def let_in(path: str) -> bool:
    """Whether .dockerignore lets this file of the project into the build; the last rule that fits decides."""
    allowed = True
    for line in text_of(".dockerignore").splitlines():
        rule = line.strip()
        if rule and not rule.startswith("#"):
            pattern = rule.removeprefix("!").removeprefix("**/")
            places = [path, *map(str, Path(path).parents)]
            if rule.startswith("**/"):
                places += [Path(place).name for place in places]
            if any(fnmatch.fnmatch(place, pattern) for place in places if place != "."):
                allowed = rule.startswith("!")
    return allowed


def image_files() -> Iterator[tuple[Path, Path]]:
    """(file of the project, its place under the image's root) for all of the project that the image holds."""
    for source, target in copied_from_source():
        start = ROOT / source
        for path in [start] if start.is_file() else sorted(p for p in start.rglob("*") if p.is_file()):
            if let_in(str(path.relative_to(ROOT))):
                inside = path.name if start.is_file() else path.relative_to(start)
                yield path, Path(target.lstrip("/")) / inside
