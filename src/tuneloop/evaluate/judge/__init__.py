"""A model that judges answers, and how far it can be trusted."""
