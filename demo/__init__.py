"""The demo workload: what a container of one's own runs until there is a real one.

An MCP server on the official SDK with a few pages beside it. It knows nothing of gateways: whoever
reaches its port is served. It is also what the tests watch the gateway and the reconciler through, so
it tells what reached it (`whoami`, `/headers`), keeps state in memory and on disk, and records what
became of every long call. `demo.app` puts the parts together; `demo.__main__` serves them.
"""
