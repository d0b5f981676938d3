"""Identity providers: GitHub, Google, and any that speaks OpenID Connect.

:mod:`gateway.auth.providers.port` is what the rest of the gateway knows of them, and
:mod:`gateway.auth.providers.build` makes them from the settings.
"""
