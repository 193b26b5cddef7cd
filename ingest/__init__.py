"""Archives to aligned pairs: what is there, what is refused, which prior belongs to which current."""
