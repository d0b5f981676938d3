"""The whole path on real engines: both processes as an operator starts them, real containers and clients."""
