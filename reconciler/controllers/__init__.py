"""Each kind of key has a controller: observe → plan → check → actuate → report.

``user_containers`` is the one that the project is about; ``homes`` ends the retention of tombstoned data;
``orphans`` collects containers of ours that nobody owns; ``recovery`` rebuilds claims from disk. ``freeze``
tells all of them whether anything may be removed; ``report`` tells people what holds for everybody, ``logs``
what a container printed.
"""
