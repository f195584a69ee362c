"""What is measured of explanations."""
