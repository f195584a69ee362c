"""How a counterexample to an axiom is searched for."""
