"""What the program does, from source to volume."""
