"""`/docs`: a service's reference to read and try, served whole by the service itself.

People type their API keys into this page, and look at it where no other host is reached: it loads nothing from
elsewhere, and browsers are told so. Swagger UI's files come with the package `fastapi_swagger`, unchanged.
"""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

_FILES = Path(str(files("fastapi_swagger") / "resources"))
_KEPT = {"Cache-Control": "max-age=3600"}  # by browsers, in seconds: a release may bring another version

# Swagger UI writes style attributes and draws its icons from data: addresses.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# Addresses are relative, so that the page also works behind a proxy that puts a path before it.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: reference</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; what it shows stands in <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // else the reference is sent to a validator elsewhere
});
"""

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def page(request: Request) -> HTMLResponse:
    """The page, which links to the other four."""
    return HTMLResponse(_PAGE.format(title=request.app.title), headers={"Content-Security-Policy": POLICY})


@router.get("/docs/start.js")
def start() -> Response:
    """Starts Swagger UI on this service's openapi.json. A file, because the policy allows no script in the page."""
    return Response(_START, media_type="text/javascript", headers=_KEPT)


@router.get("/docs/swagger-ui-bundle.js")
def script() -> FileResponse:
    """Swagger UI."""
    return FileResponse(_FILES / "swagger-ui-bundle.js", media_type="text/javascript", headers=_KEPT)


@router.get("/docs/swagger-ui.css")
def style() -> FileResponse:
    """How it looks."""
    return FileResponse(_FILES / "swagger-ui.css", headers=_KEPT)


@router.get("/docs/favicon-32x32.png")
def icon() -> FileResponse:
    """Its icon."""
    return FileResponse(_FILES / "favicon-32x32.png", headers=_KEPT)
