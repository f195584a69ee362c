"""Small tools that know nothing of explanations."""

# Tools of the other packages; none of them is public.
__all__: list[str] = []
