"""Which endpoint a request goes to: paths and rules are pure, the table is fed by the store's watch.

Start with :mod:`gateway.routes.path`, then :mod:`gateway.routes.match`, then :mod:`gateway.routes.table`.
"""
