"""Records to new rows: what a teacher writes, checked before it is learned."""
