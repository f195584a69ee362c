"""Where axioms are checked from: a decorator, the pytest plug-in, and the matrix."""
