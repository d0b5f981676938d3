"""What runs within the benchmark's own processes says what is wrong, and not what it does."""

import logging

import structlog


def quieten() -> None:
    """Once in each process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
