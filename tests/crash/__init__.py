"""Proof that nothing is lost, doubled or damaged, whatever dies: `make crash` runs all of it."""
