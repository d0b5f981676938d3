"""Setting a machine up, on this machine: nothing here is pretended but the failures."""
