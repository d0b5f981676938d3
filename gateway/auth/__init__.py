"""Who somebody is: App keys on MCP routes, sessions on pages, one-time codes to come in.

:mod:`gateway.auth.app_keys` is the data path's; :mod:`gateway.auth.sessions` is the pages'; the local
developer's sign-in and the way into a Home's origin are :mod:`gateway.auth.local` and
:mod:`gateway.auth.home_entry`.
"""
