"""The command line: the supervisor of the two processes, and the operator's verbs."""
