"""Read what Pulsar2 writes beside a compiled model: its table of cosines, widths, cycles and profile."""
