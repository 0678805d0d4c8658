"""What `ngcore validate` looks at, one module for each kind of file or rule."""
