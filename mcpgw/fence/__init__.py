"""The fence: one table of packet filter rules around a project's containers.

Decides who may reach a container and whom a container may reach; refuses to know what containers there are:
the rules go by the zones' subnets. Next: :mod:`mcpgw.fence.ruleset`.
"""
