"""`python -m api.serve`: one API process."""

import argparse
import gc
import socket
import sys

import uvicorn

from api.app import create_app
from kit.logs import configure_logs
from kit.settings import settings

# ARCHITECTURE: SIGTERM finishes the batch and exits in 5 s.
_GOODBYE_SECONDS = 5
_OBJECTS_A_COLLECTION = 50_000


def spare_the_collector() -> None:
    """Collect cyclic garbage seldom: requests make many objects and hardly any cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_A_COLLECTION, 20, 20)


def listener(host: str, port: int, *, shared: bool) -> socket.socket:
    """Return a bound socket; a shared port is one that several workers accept on.

    Raises:
        OSError: the port is in use.
    """
    # The protocol is named: without it asyncio leaves Nagle's algorithm on, 40 ms an answer.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    return bound


def main() -> None:
    """Serve until told to stop."""
    configure_logs()
    parser = argparse.ArgumentParser(prog="python -m api.serve", description=__doc__)
    parser.add_argument("--host", default=settings().host)
    parser.add_argument("--port", type=int, default=settings().port)
    parser.add_argument("--share-port", action="store_true", help="with other workers")
    asked = parser.parse_args()
    try:
        bound = listener(asked.host, asked.port, shared=asked.share_port)
    except OSError as error:
        sys.stderr.write(f"api: cannot listen on {asked.host}:{asked.port}: {error.strerror}\n")
        sys.exit(2)
    spare_the_collector()
    config = uvicorn.Config(
        create_app(),
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[bound])


if __name__ == "__main__":
    main()
