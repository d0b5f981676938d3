"""What the controllers do around the plan."""
