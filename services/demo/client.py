"""A campaign tool's view of Attune: three addresses, one key, HTTP."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar
from uuid import UUID

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.stack.target import Target
from services.stack.trouble import Trouble

Answer = TypeVar("Answer")
Body = BaseModel | Mapping[str, Any]

TIMEOUT = httpx.Timeout(120.0, connect=10.0)
ATTEMPTS = 4  # for calls that say they may be tried again (429, 503)


class Service:
    """One service. Whatever it refuses is raised as Trouble, in the service's own words."""

    def __init__(self, name: str, address: str, key: str) -> None:
        self.name = name
        self.address = address
        self._http = httpx.Client(base_url=address, headers={"authorization": f"Bearer {key}"}, timeout=TIMEOUT)

    def get(self, answer: type[Answer], path: str, **parameters: str | int) -> Answer:
        """GET `path` and read the answer as what the contract says."""
        return self._read(answer, self._call("GET", path, params=parameters))

    def find(self, answer: type[Answer], path: str) -> Answer | None:
        """GET what may not be there."""
        response = self._http.get(path)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        return self.get(answer, path)

    def post(self, answer: type[Answer], path: str, body: Body | None = None, **parameters: str | int) -> Answer:
        """POST a message and read the answer."""
        return self._read(answer, self._call("POST", path, content=_written(body), params=parameters))

    def put(self, answer: type[Answer], path: str, body: Body) -> Answer:
        """PUT a message and read the answer."""
        return self._read(answer, self._call("PUT", path, content=_written(body)))

    def upload(self, answer: type[Answer], path: str, lines: Iterable[bytes], **parameters: str | int) -> Answer:
        """POST NDJSON, streamed as it is made, and read the report."""
        headers = {"content-type": "application/x-ndjson"}
        return self._read(answer, self._call("POST", path, content=lines, headers=headers, params=parameters))

    def job(self, path: str, body: Body | None = None, *, within: float = 120.0) -> Mapping[str, Any]:
        """POST what takes long, wait for it and return its result. What was done at once is returned as it is."""
        response = self._call("POST", path, content=_written(body))
        if response.status_code != httpx.codes.ACCEPTED:
            return self._read(dict[str, Any], response)
        return self.wait(response.headers["location"], within=within)

    def wait(self, location: str, *, within: float = 120.0) -> Mapping[str, Any]:
        """Wait for a job to succeed and return its result; Trouble when it fails or takes too long."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            job = self.get(dict[str, Any], location)
            if job["state"] == "succeeded":
                return job["result"] or {}
            if job["state"] in ("failed", "cancelled"):
                raise Trouble(f"{self.name}: the job {job['kind']} {job['state']}: {job['problem']}")
            time.sleep(0.1)
        raise Trouble(f"{self.name}: the job at {location} did not end within {within:.0f} s.")

    def items(self, item: type[Answer], path: str, **parameters: str | int) -> Iterator[Answer]:
        """Every item of a paged list."""
        cursor: dict[str, str] = {}
        while True:
            page = self.get(dict[str, Any], path, limit=1000, **parameters, **cursor)
            yield from (TypeAdapter(item).validate_python(each) for each in page["items"])
            if page["next_cursor"] is None:
                return
            cursor = {"cursor": page["next_cursor"]}

    def stream(self, path: str, **parameters: str | int) -> Iterator[bytes]:
        """The lines of an NDJSON answer, as they come."""
        headers = {"accept": "application/x-ndjson"}
        with self._http.stream("GET", path, params=parameters, headers=headers) as response:
            if response.is_error:
                response.read()
                raise _trouble(self.name, response)
            yield from (line.encode() for line in response.iter_lines() if line)

    def page(self, path: str) -> str:
        """A page for people, as HTML."""
        return self._call("GET", path, headers={"accept": "text/html"}).text

    def _read(self, answer: type[Answer], response: httpx.Response) -> Answer:
        try:
            return TypeAdapter(answer).validate_json(response.content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = "/".join(map(str, first["loc"]))
            request = f"{response.request.method} {response.request.url.path}"
            raise Trouble(
                f"{self.name} answered {request} in a form this version does not know ({where}: {first['msg']})."
            ) from error

    def _call(self, method: str, path: str, **parts: Any) -> httpx.Response:
        for attempt in range(ATTEMPTS):
            try:
                response = self._http.request(method, path, **_json_by_default(parts))
            except httpx.HTTPError as error:
                raise Trouble(
                    f"{self.name} at {self.address} does not answer: {error or type(error).__name__}"
                ) from error
            repeatable = not isinstance(parts.get("content"), Iterable) or isinstance(parts["content"], bytes)
            if response.status_code not in (429, 503) or attempt == ATTEMPTS - 1 or not repeatable:
                break
            time.sleep(float(response.headers.get("retry-after", 1)))
        if response.is_error:
            raise _trouble(self.name, response)
        return response


class Attune:
    """The three services."""

    def __init__(self, target: Target) -> None:
        self.audience = Service("audience", target.audience, target.key)
        self.experiments = Service("experiments", target.experiments, target.key)
        self.feedback = Service("feedback", target.feedback, target.key)


def identifier(answer: Mapping[str, Any]) -> UUID:
    """The id of what was made."""
    return UUID(str(answer["id"]))


def _written(body: Body | None) -> bytes | None:
    if body is None:
        return None
    if isinstance(body, BaseModel):
        return body.model_dump_json(by_alias=True, exclude_unset=True).encode()
    return TypeAdapter(Mapping[str, Any]).dump_json(body)


def _json_by_default(parts: dict[str, Any]) -> dict[str, Any]:
    if isinstance(parts.get("content"), bytes) and "headers" not in parts:
        return {**parts, "headers": {"content-type": "application/json"}}
    return parts


def _trouble(name: str, response: httpx.Response) -> Trouble:
    """What the service said, from its problem document."""
    try:
        problem = response.json()
        said = f"{problem['title']}: {problem['detail']}"
        fields = "".join(f"\n  {error['pointer']}: {error['detail']}" for error in problem.get("errors") or [])
    except (ValueError, KeyError, TypeError):
        said, fields = response.text[:500], ""
    return Trouble(
        f"{name} refused {response.request.method} {response.request.url.path} ({response.status_code}). {said}{fields}"
    )
