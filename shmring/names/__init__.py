"""Names of rings, and where they lead: through these, unrelated processes find each other."""
