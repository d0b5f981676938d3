"""The streaming proxy and the server in front of it, over real sockets."""
