"""Tests by package; `tests/proxy/rig.py` and its like are shared inside one."""
