"""`python -m services.audience serve` or `worker`."""

from services.audience.app import service
from shared.service import main

if __name__ == "__main__":
    main(service)
