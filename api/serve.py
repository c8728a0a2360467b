"""`python -m api.serve`: one API process."""

import argparse
import gc

import uvicorn

from api.app import create_app
from kit.settings import settings

# ARCHITECTURE: SIGTERM finishes the batch and exits in 5 s.
_GOODBYE_SECONDS = 5
_OBJECTS_A_COLLECTION = 50_000


def spare_the_collector() -> None:
    """Collect cyclic garbage seldom: requests make many objects and hardly any cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_A_COLLECTION, 20, 20)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m api.serve", description=__doc__)
    parser.add_argument("--host", default=settings().host)
    parser.add_argument("--port", type=int, default=settings().port)
    asked = parser.parse_args()
    spare_the_collector()
    uvicorn.run(
        create_app(),
        host=asked.host,
        port=asked.port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )


if __name__ == "__main__":
    main()
