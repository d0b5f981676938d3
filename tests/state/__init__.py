"""Tests of the desired state: kinds, store, manifests."""
