"""Identity providers that are not ours: real ones, run on loopback for the tests."""
