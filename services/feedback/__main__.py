"""`python -m services.feedback serve` or `worker`."""

from services.feedback.app import service
from shared.service import main

if __name__ == "__main__":
    main(service)
