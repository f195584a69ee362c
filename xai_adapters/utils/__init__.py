"""Small tools that know nothing of explanations."""
