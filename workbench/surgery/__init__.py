"""Graph surgery: one pass a file, named like the file; files beginning with an underscore are machinery."""
