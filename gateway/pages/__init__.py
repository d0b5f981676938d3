"""The gateway's own pages and API: FastAPI and Jinja2, a strict content policy, forms with CSRF tokens.

:mod:`gateway.pages.serve` is the door, :mod:`gateway.pages.gateway_app` what stands at the gateway's origin,
:mod:`gateway.pages.home_app` the little that stands at each Home's. They work without scripts.
"""
