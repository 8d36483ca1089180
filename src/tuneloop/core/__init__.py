"""What every stage shares: configuration, errors, records, the one door to disk. No torch."""
