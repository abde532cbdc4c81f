"""What `tests/standins/pulsar2.py` is made of: one step of the vendor's tool a file; for tests only."""
