"""Tests of the manifests: text, plan, folder."""
