"""Signing in, and what it is good for, on the wire."""
