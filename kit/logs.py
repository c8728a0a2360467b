"""Logs are events with fields on standard error; tracebacks never show the values of variables."""

import structlog


def configure_logs() -> None:
    """Set up structlog for this process; call it once, before anything logs.

    The default renderer prints the local variables of a traceback, which may hold addresses and
    secrets; this one prints the plain traceback.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
