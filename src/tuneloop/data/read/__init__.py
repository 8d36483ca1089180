"""Every container that people keep rows in, read as a stream, with a place for every value and every problem."""
