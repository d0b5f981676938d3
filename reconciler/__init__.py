"""The loop: observe → plan → check → actuate → report.

``core`` decides and never awaits; ``engine`` is the port to Docker, Podman and the in-memory twin;
``controllers`` give each kind of key its turn; ``loop`` is the queue and what wakes it.
"""
