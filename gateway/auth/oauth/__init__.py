"""The authorization server of OAuth 2.1 for MCP clients, on Authlib's core.

Begin at :mod:`gateway.auth.oauth.server`, its one face; :mod:`gateway.auth.oauth.core` is where Authlib is
spoken to. Nothing here knows HTTP's server, pages, or who may come in.
"""
