"""The manifests folder: YAML that people write → objects of the store.

Read in the order of the work: :mod:`~state.manifests.tree` (text → positions), ``written`` (what may stand
in a document), ``parse`` (a file → objects, or every problem in it), ``folder`` (all files at once),
``plan`` (folder × store → what to write; pure), ``apply`` (writing it), ``follow`` (again on every change).
"""
