"""The store's contract, held to by every medium, and what is particular to each."""
