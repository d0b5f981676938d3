"""Decisions only: plain values in, plain values out. No await, no clock, no random number, no engine.

Start with :mod:`reconciler.core.container` (what an engine is asked for and what it shows), then
:mod:`reconciler.core.world`, :mod:`reconciler.core.plan` and :mod:`reconciler.core.invariants`.
"""
