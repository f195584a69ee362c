"""Cases that explainers are checked on: small networks with rows, and how they are drawn."""
