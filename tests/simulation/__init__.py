"""Simulations that hold the platform to the error rates it states. `python -m tests.simulation` runs the long ones."""
