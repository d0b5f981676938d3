"""Log lines of both processes: JSON, one object a line, on standard error.

Events are ``noun.past_participle`` with variables as keys. Whoever logs leaves out tokens, e-mail addresses
and bodies; nothing here could find them afterwards.
"""

import logging
import sys
from typing import Any

import orjson
import structlog


def configure(level: str, process: str) -> None:
    """Set logging up for this process; libraries' own loggers only speak from WARNING on."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumped),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)


def _dumped(event: Any, **_options: Any) -> bytes:
    return orjson.dumps(event, default=repr)
