"""What explainers are compared on: models, rows and how to mask them."""
