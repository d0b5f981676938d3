"""The port to container engines and its adapters.

:mod:`reconciler.engine.port` is the contract; ``docker``, ``podman`` and ``memory`` keep it, and one suite
(``tests/reconciler/engine/``) holds all of them to it.
"""
