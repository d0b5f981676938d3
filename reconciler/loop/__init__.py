"""The loop around the core: what wakes a key, what a key sees, and whose turn it is.

``queue`` gives keys their turn; ``cache`` mirrors the store; ``observer`` mirrors the engine; ``prober``
asks containers whether they answer; ``actuator`` carries actions out. :mod:`reconciler.operator` joins them.
"""
