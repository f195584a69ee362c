"""How a benchmark run is asked for, scheduled, interrupted and resumed."""
