"""How explainers of every kind are called, and what they answer."""
