"""Signing in: what a token costs, people and programs by the hundred, and what has to be refused.

Next: :mod:`bench.verifying`, :mod:`bench.sign_ins`, :mod:`bench.conformance`,
:mod:`bench.negatives`.
"""

from pathlib import Path

from bench import conformance, negatives, sign_ins, verifying
from bench.own_network import in_own_network
from bench.results import Sample


def run(_out: Path, *, quick: bool) -> list[Sample]:
    return [
        *in_own_network(verifying.measured, quick),
        *in_own_network(sign_ins.measured, quick),
        conformance.measured(),
        negatives.measured(quick),
    ]
