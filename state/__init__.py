"""The desired-state store and its nouns: what gateway and reconciler share, and all they share.

``state.kinds`` says what may be wanted and what was seen; it does no I/O. ``state.store`` keeps it.
``state.manifests`` reads what operators write. None of them knows an engine or a socket to the world.
"""
