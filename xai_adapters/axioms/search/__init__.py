"""The search for counterexamples, in this process or, with a time limit, in another."""
