"""What `ngcore repair` repairs, one module for each kind of fault."""
