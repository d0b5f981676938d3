"""What tests and benchmarks start: a whole gateway of their own, beside whatever else runs here.

Begin with :mod:`mcpgw.testing.house`.
"""
