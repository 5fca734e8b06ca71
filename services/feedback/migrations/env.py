"""Runs this service's history on the connection that `shared.migrate` opened."""

from alembic import context

from shared.migrate import run_environment

run_environment(context.config)
