"""A request whose user's container is not there yet waits until it is, in the way its client can bear.

:mod:`gateway.hold.waiting` is the wait itself and its bounds, :mod:`gateway.hold.reasons` what is said when
it was in vain, :mod:`gateway.hold.events` the answer that keeps a JSON-RPC client company meanwhile.
:mod:`gateway.hold.waking` has a container woken that sleeps, :mod:`gateway.hold.listening` answers those who
are no reason to. :mod:`gateway.hold.delivery` puts them around the proxy.
"""
