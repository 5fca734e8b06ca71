"""Which ports are free on this machine."""

import random
import socket
from collections.abc import Iterable, Mapping

from services.stack.trouble import Trouble
from shared.settings import PORTS, WORKER_PORTS

DEFAULT_BASE = 8000
HIGHEST_BASE = 65_000
POSTGRES_PORT = 8032  # of the embedded server


def ports_of(base: int) -> dict[str, int]:
    """Ports by process name. A base of 8000 gives services 8001 to 8003, workers 8011 to 8013, Postgres 8032."""
    services = {name: base + port - DEFAULT_BASE for name, port in PORTS.items()}
    workers = {f"{name} worker": base + port - DEFAULT_BASE for name, port in WORKER_PORTS.items()}
    return services | workers | {"Postgres": base + POSTGRES_PORT - DEFAULT_BASE}


def refuse_taken(ports: Mapping[str, int], host: str) -> None:
    """Raise Trouble that names every port somebody else listens on."""
    taken = sorted(port for port in ports.values() if not is_free(port, host))
    if taken:
        named = ", ".join(str(port) for port in taken)
        raise Trouble(
            f"Port {named} is taken by another program. Stop it, or choose other ports with --port-base "
            "(for example --port-base 9000 gives 9001, 9002 and 9003)."
        )


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether this process could listen on `port` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def free_base(candidates: Iterable[int] | None = None) -> int:
    """A port base whose ports are all free, below the range from which systems lend ports to clients.

    Raises
    ------
    Trouble
        When a hundred tries find none.
    """
    for base in candidates or (random.randrange(11_000, 32_000, 40) for _ in range(100)):  # noqa: S311
        if all(is_free(port) for port in ports_of(base).values()):
            return base
    raise Trouble("No free ports were found on this machine.")
