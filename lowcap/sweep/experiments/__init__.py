"""The experiments that can be swept, a module each: networks and conditions in, a row per network and condition out.

Each imports what it needs and no other, so that a change in one makes no sweep of another begin anew. They are found by
name, see `block.find`; all are the package's own, and scores are those on the task's official test split.
"""
