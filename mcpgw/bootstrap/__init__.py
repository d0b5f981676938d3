"""Sets a machine up: a container engine, the demo workload's image, and what the tests need.

Standard library only, because it runs before anything is installed and because it must be able to say
what is missing. It decides what to install and start; it refuses to know what runs afterwards. Whatever
changes the machine outside the project (Debian packages, engines) is said before it is done.

Entry points: `mcpgw.bootstrap.docker.ensure_docker`, `mcpgw.bootstrap.podman.ensure_podman`,
`mcpgw.bootstrap.demo_image.ensure_demo_image`, and the list of steps in `mcpgw.bootstrap.testing`.
"""
