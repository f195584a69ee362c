"""The axioms, one file a family."""
