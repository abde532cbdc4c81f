"""What is inside a model file of any kind: read in a process of its own, which a damaged or hostile file may break."""
