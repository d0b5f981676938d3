"""Google: an OpenID Connect issuer like others, known by these defaults. No code of its own.

Source: https://accounts.google.com/.well-known/openid-configuration.
Next: :mod:`gateway.auth.providers.oidc`.
"""

from typing import Final

GOOGLE_ISSUER: Final = "https://accounts.google.com"
GOOGLE_LABEL: Final = "Google"
