"""The port to container engines and its adapters.

:mod:`reconciler.engine.port` is the contract; ``docker``, ``podman`` and ``memory`` keep it, and one suite
(``tests/reconciler/engine/``) holds all of them to it. ``faulty`` wraps any of them to fail on purpose.
Outside this package only ``opening`` (for the process), ``port`` and, in tests and benchmarks, ``memory``
and ``faulty`` are meant to be imported.
"""
