"""`python -m services.experiments serve` or `worker`."""

from services.experiments.app import service
from shared.service import main

if __name__ == "__main__":
    main(service)
