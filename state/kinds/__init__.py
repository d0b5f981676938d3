"""The nouns of the desired state, without I/O.

Start with :mod:`state.kinds.resource` (what every object has in common), then the kinds that people
write (``template``, ``user_container``, ``app``, ``access_policy``) and those that the processes write
(``account``, ``home``, ``incarnation``, ``demand``, ``request``, ``report``). :mod:`state.kinds.catalog`
lists them all.
"""
