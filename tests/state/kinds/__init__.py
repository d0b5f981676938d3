"""Tests of the kinds: quantities, names, round trips."""
