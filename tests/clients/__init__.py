"""Real clients that sign in by OAuth: small programs that drive them, and a robot that is their person."""
