"""The front: says who somebody is and passes bytes to their container. It never sees the engine."""
